package door

import (
	"context"
	"io"
	"sync"
	"time"
)

// output writes to a client. A client that takes nothing for a while is
// dropped, so that a write always ends.
type output struct {
	mu    sync.Mutex
	w     io.Writer
	crlf  bool // writes NL as CR NL
	last  byte
	buf   []byte
	limit time.Duration
	timer *time.Timer
}

// chunk is how much has to be taken within the limit: at 9600 baud 4 seconds.
const chunk = 4096

func newOutput(w io.Writer, crlf bool, limit time.Duration, stalled func()) *output {
	o := &output{w: w, crlf: crlf, limit: limit, timer: time.AfterFunc(time.Hour, stalled)}
	o.timer.Stop()
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := 0; n < len(p); {
		part := p[n:min(n+chunk, len(p))]
		if err := o.write(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), nil
}

func (o *output) write(p []byte) error {
	if o.crlf {
		p = o.newlines(p)
	}
	o.timer.Reset(o.limit)
	_, err := o.w.Write(p)
	o.timer.Stop()
	return err
}

// newlines puts a CR before each NL that has none.
func (o *output) newlines(p []byte) []byte {
	o.buf = o.buf[:0]
	for _, c := range p {
		if c == '\n' && o.last != '\r' {
			o.buf = append(o.buf, '\r')
		}
		o.buf = append(o.buf, c)
		o.last = c
	}
	return o.buf
}

// input reads a person's keys, no faster than a person or a paste needs: each
// costs the console work.
type input struct {
	ctx    context.Context
	r      io.Reader
	rate   float64 // bytes a second
	burst  float64
	tokens float64
	at     time.Time
	ended  func() // may be nil
}

func newInput(ctx context.Context, r io.Reader, rate int) *input {
	burst := float64(4 * rate)
	return &input{ctx: ctx, r: r, rate: float64(rate), burst: burst, tokens: burst, at: time.Now()}
}

func (i *input) Read(p []byte) (int, error) {
	now := time.Now()
	i.tokens = min(i.tokens+now.Sub(i.at).Seconds()*i.rate, i.burst)
	i.at = now
	// A fraction of the rate at a time: waking for each byte would cost more.
	if least := min(i.rate/16+1, i.burst); i.tokens < least {
		t := time.NewTimer(time.Duration((least - i.tokens) / i.rate * float64(time.Second)))
		defer t.Stop()
		select {
		case <-t.C:
			i.tokens, i.at = least, time.Now()
		case <-i.ctx.Done():
			return 0, io.EOF
		}
	}
	n, err := i.r.Read(p[:min(len(p), int(i.tokens))])
	i.tokens -= float64(n)
	if err != nil && i.ended != nil {
		i.ended()
	}
	return n, err
}
