"""What a validator asks of a version beyond how good it is: its data, what repeats, what moves it, and its reasons."""
