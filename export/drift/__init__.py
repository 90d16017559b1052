"""What a stream's drift monitor compares with, and the record of what it finds."""
