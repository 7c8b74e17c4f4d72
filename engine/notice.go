package engine

import "time"

// NoticeKind is what a notice tells.
type NoticeKind string

// What a customer's program may want to know of a server.
const (
	NoticeOrdered   NoticeKind = "server.ordered"
	NoticeBooting   NoticeKind = "server.booting"
	NoticeLive      NoticeKind = "server.live"
	NoticeFailed    NoticeKind = "server.failed" // its order could not be carried out
	NoticeUp        NoticeKind = "server.up"     // SSH answers after it was down
	NoticeDown      NoticeKind = "server.down"
	NoticeStalled   NoticeKind = "server.stalled"
	NoticeReimaged  NoticeKind = "server.reimaged"
	NoticeMoved     NoticeKind = "server.moved"
	NoticeResized   NoticeKind = "server.resized"
	NoticeKeys      NoticeKind = "server.keys"
	NoticeReleasing NoticeKind = "server.releasing"
	NoticeReleased  NoticeKind = "server.released"
)

// NoticeKinds are all of them.
func NoticeKinds() []NoticeKind { return append([]NoticeKind(nil), noticeKinds...) }

var noticeKinds = []NoticeKind{
	NoticeOrdered, NoticeBooting, NoticeLive, NoticeFailed, NoticeUp, NoticeDown, NoticeStalled, NoticeReimaged, NoticeMoved,
	NoticeResized, NoticeKeys, NoticeReleasing, NoticeReleased,
}

// Notice is something that happened to a server, for its owner: sent to
// webhooks and to whoever listens, in the order of ID.
type Notice struct {
	ID      int64
	Time    time.Time
	Account string
	Server  string
	Kind    NoticeKind
	Text    string // one sentence
	Task    int64  // of the job it belongs to, 0 = none
}

// Delivery is a notice on its way to a webhook: written with the notice, so that
// none is lost, and tried until it is taken or given up.
type Delivery struct {
	Notice   int64
	Webhook  string
	Attempts int
	Next     time.Time // when it is tried again, zero = it is over
	Status   int       // HTTP status of the last attempt, 0 = no answer
	Error    string    // why the last attempt failed, "" = it did not
	Done     time.Time // when it was taken, zero = it was not
}

// Sending is a delivery with what is sent, and where to.
type Sending struct {
	Delivery Delivery
	Notice   Notice
	Webhook  Webhook
}
