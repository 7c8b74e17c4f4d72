package api

import (
	"net/http"

	"picloud/engine"
)

// statusRow is how an error of the engine is told.
type statusRow struct {
	err    error
	hosted int    // status in the hosted-Pi API
	own    int    // and in picloud's
	say    string // "" = as the error says it
}

// statusTable is looked through from the top. What is not in it is a 500.
var statusTable = []statusRow{
	{engine.ErrBadOrder, http.StatusBadRequest, http.StatusUnprocessableEntity, ""},
	{engine.ErrKey, http.StatusBadRequest, http.StatusUnprocessableEntity, ""},
	{engine.ErrOnceDiffers, http.StatusConflict, http.StatusUnprocessableEntity, ""},
	{engine.ErrNoSuchServer, http.StatusNotFound, http.StatusNotFound, "No such server"},
	{engine.ErrNoSuchTask, http.StatusNotFound, http.StatusNotFound, "No such task"},
	{engine.ErrNoSuchWebhook, http.StatusNotFound, http.StatusNotFound, "No such webhook"},
	{engine.ErrNoSuchAccount, http.StatusBadRequest, http.StatusUnprocessableEntity, "No such account"},
	{engine.ErrServerTaken, http.StatusConflict, http.StatusConflict, "The name is taken"},
	{engine.ErrProvisioning, http.StatusConflict, http.StatusConflict, "The server is not provisioned yet"},
	{engine.ErrRebooting, http.StatusConflict, http.StatusConflict, "The server is already rebooting"},
	{engine.ErrNoneFree, http.StatusServiceUnavailable, http.StatusServiceUnavailable, ""},
	{engine.ErrTooMany, http.StatusForbidden, http.StatusForbidden, ""},
	{engine.ErrNotAllowed, http.StatusForbidden, http.StatusForbidden, ""},
	{engine.ErrAccountClosed, http.StatusForbidden, http.StatusForbidden, "The account is closed"},
	{engine.ErrNotNow, http.StatusConflict, http.StatusConflict, ""},
	{engine.ErrNotWritten, http.StatusServiceUnavailable, http.StatusServiceUnavailable, "It could not be written down, so nothing is done"},
	{engine.ErrStopped, http.StatusServiceUnavailable, http.StatusServiceUnavailable, "The service is being stopped"},
}
