package attack

// archCalls are none: what amd64 has besides, such as ports and a second convention for calls, arm64 has not.
func archCalls() []Attack { return nil }
