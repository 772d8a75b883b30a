# Rows of the tables as arrays of structs.
cdef object structs(void* rows, Py_ssize_t n, str name)
