package config

import "time"

// Exam sets how boards are examined; whether they are, [orders] says.
type Exam struct {
	Port int           // TCP, of the server at each segment; 0 is none
	Burn time.Duration // how long a board works hard
}

// examPort is where boards report unless they are told otherwise: no service that
// is known has it.
const examPort = 10069

func examTable() table {
	return single("exam", "The examination of new and returned boards: see examine below [orders].", func(c *Config) *Exam { return &c.Exam },
		field{key: "port", doc: "TCP port that boards report to, at the server's address on their own segment\nand while they are examined.",
			ref: ref(func(e *Exam) any { return &e.Port }), check: within(1, 65535)},
		field{key: "burn_in", doc: "How long a board works hard.",
			ref: ref(func(e *Exam) any { return &e.Burn }), check: between(time.Second, time.Hour)},
	)
}
