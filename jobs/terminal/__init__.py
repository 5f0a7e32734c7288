"""What a person sees: a live bar or plain lines, printable text, and the log that libraries write to."""
