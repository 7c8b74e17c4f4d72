// Package webhook tells customers' programs what happened to their servers: it
// sends the notices that the store's outbox has for each webhook.
//
// # What is sent
//
// A POST by Standard Webhooks (https://www.standardwebhooks.com), with the headers
// webhook-id, webhook-timestamp (seconds since 1970) and webhook-signature: "v1,"
// and the base64 of HMAC-SHA256, under the webhook's secret, of
// "id.timestamp.body". The body is a [Message] in JSON. A notice has the same id
// each time that it is sent, to whichever webhook.
//
// # When it counts as taken
//
// Any status from 200 to 299, within the time-out; what the body says is not
// looked at. Redirects are not followed: the URL is to be changed instead. All
// else is tried again by the table of delays, each a tenth more or less, and after
// a 429 or 503 not before its Retry-After. The last try is three days after the
// notice, and then it is given up.
//
// 410 Gone gives a notice up at once. The webhook stays, and is sent the next one:
// a proxy that is set up wrongly for an hour must not end it for ever.
//
// A notice is sent at least once. It is sent twice if the service ends between
// the answer and writing it down.
//
// # Order
//
// A webhook is sent one notice at a time, in the order of their numbers: the next
// when the one before was taken or given up. What one webhook does not take delays
// nobody else's. What waited longer than three days behind another is still tried
// once.
//
// # Where it may go
//
// Whoever has an account can have this computer connect to where they say. So the
// address that is connected to, after names are resolved, has to be a public one,
// not of this computer, or in one of the networks that the configuration allows.
// Without TLS it has to be in one of those. No proxy is used, whatever the
// environment says, and of an answer nothing but its status is told.
package webhook
