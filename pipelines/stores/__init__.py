"""The only access to stores: everything outside is opened, read and written here."""
