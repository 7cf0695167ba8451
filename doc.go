// Package apigpu holds the words that travel on the wire: the job and what
// becomes of it, the request for captions, the errors, and the messages
// between an orchestrator and a worker.
//
// It imports the standard library only. Everything a program needs to speak
// to an orchestrator, or to a worker, is here and in package client.
package apigpu

// APIVersion numbers the messages between an orchestrator and a worker
// (Assignment, LeaseRequest, LeaseReply, Manifest). It rises when one of them
// changes its meaning; an orchestrator gives a job only to a worker that
// reports the same number. 2 is the first in which captions have a style, fonts
// and an output: a worker before it would leave all of them out, and call the
// job done.
const APIVersion = 2
