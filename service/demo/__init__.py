"""What `tocsin demo` and the tests run against instead of the outside world."""
