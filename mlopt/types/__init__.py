"""The nouns of mlopt: frozen records that every layer shares."""
