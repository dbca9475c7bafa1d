"""The report of an evaluation: one page in English and one in Chinese that need nothing but themselves."""
