package cli

import "io"

// Usagef is the error of a command that was not understood; Report gives it
// exit code 2. hint is what to do, "" = nothing to say. Commands that a program
// adds to the tree use it.
func Usagef(hint, format string, args ...any) error { return usagef(hint, format, args...) }

// Report prints what a command of the tree returned, and returns its exit
// code. A cobra error is a mistake of whoever typed; another is a failure.
func Report(w io.Writer, err error) int {
	return newApp(nil, Session{Stderr: w}.filled()).report(err)
}

// Failed is the error of a command whose work failed; Report gives it exit code
// 1.
func Failed(err error) error { return asProblem(err) }

// Emit prints one object as --json does: whatever is in it, no terminal acts on
// it.
func Emit(w io.Writer, v any) error {
	a := newApp(nil, Session{Stdout: w}.filled())
	if err := a.emit(v); err != nil {
		return err
	}
	return a.out.err
}
