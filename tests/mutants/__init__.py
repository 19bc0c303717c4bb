"""The promises of docs/reliability.md, each taken out of the code in turn: the tests have to notice."""
