package tui

import (
	"context"
	"io"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
)

// feed reads a session's keys and hands them to the program, until the input
// or ctx ends. Bubble Tea's own reader waits for ever with the keys that came
// after the one that ended the program, so that whoever types on leaves
// something behind in a service that runs for years. It also asks the terminal
// things that old ones print.
func feed(ctx context.Context, p *tea.Program, input io.Reader, env []string) {
	name, _ := lookup(env, "TERM")
	events := make(chan uv.Event)
	go func() {
		defer close(events)
		_ = uv.NewTerminalReader(input, name).StreamEvents(ctx, events)
	}()
	for e := range events {
		p.Send(e) // returns at once when the program is over
	}
}
