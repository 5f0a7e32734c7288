"""The one seam to stores: everything outside is opened, read and written here."""
