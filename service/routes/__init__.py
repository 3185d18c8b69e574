"""The API's routes: thin, one room of the API each."""
