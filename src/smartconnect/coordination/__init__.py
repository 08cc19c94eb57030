"""Who owns which slot. On one machine: the parent process decides (`board`), each worker hears it over its pipe (`local`)."""
