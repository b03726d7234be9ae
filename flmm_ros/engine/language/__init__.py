"""From words to what they ask for: phrases, intent, and the sentence of an answer."""
