package confine

// foreignCall would need a processor that runs 32-bit programs, and a switch of the whole process.
func foreignCall() func() { return func() {} }

func archRefused() []uint32 { return nil }
