package engine

// Mailbox holds the newest value only. Put never blocks, so that a viewer who
// stopped reading cannot hold up the engine. It has one writer.
type Mailbox[T any] struct{ c chan T }

// NewMailbox returns an empty mailbox.
func NewMailbox[T any]() Mailbox[T] { return Mailbox[T]{c: make(chan T, 1)} }

// Put replaces whatever is in the box with v.
func (m Mailbox[T]) Put(v T) {
	for {
		select {
		case m.c <- v:
			return
		default:
		}
		select {
		case <-m.c:
		default:
		}
	}
}

// C is where the reader takes values from.
func (m Mailbox[T]) C() <-chan T { return m.c }
