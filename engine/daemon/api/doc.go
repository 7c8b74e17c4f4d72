// Package api is picloud's HTTP API: the hosted-Pi API that customers' clients
// speak already, under a base path, and picloud's own beside it under /v1. Both
// are drawn over engine.Desk, by the same keys and tokens.
//
// Every operation is added in one place, which says who may use it; the OpenAPI
// 3.1 document at /openapi.json and the documentation at / are made from what
// was added.
package api
