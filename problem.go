package apigpu

// Problem is the body of every error answer: RFC 9457 problem details with
// content type application/problem+json, the members of the plan (error,
// message, details) and a stable code beside them.
type Problem struct {
	Type       string   `json:"type" doc:"URN of the code" example:"urn:api-gpu:error:invalid_request"`
	Title      string   `json:"title" doc:"The code in words" example:"Validation error"`
	Status     int      `json:"status" doc:"HTTP status"`
	Detail     string   `json:"detail" doc:"What went wrong, for people"`
	Code       Code     `json:"code" doc:"Stable name of the error"`
	Field      string   `json:"field,omitempty" doc:"Request field at fault"`
	Hint       string   `json:"hint,omitempty" doc:"What to do about it"`
	Retryable  bool     `json:"retryable" doc:"The same request may well succeed later"`
	RetryAfter int      `json:"retry_after,omitempty" doc:"Seconds to wait before trying again"`
	JobID      string   `json:"job_id,omitempty" doc:"Job it is about"`
	Available  []string `json:"available,omitempty" doc:"What could be named instead"`
	Error      string   `json:"error" doc:"Same as title"`
	Message    string   `json:"message" doc:"Same as detail"`
	Details    []Detail `json:"details" doc:"The faults, field by field"`
}

// AsError turns a received problem back into the error it was made from.
func (p Problem) AsError() *Error {
	return &Error{
		Code: p.Code, Message: p.Detail, Field: p.Field, Hint: p.Hint, Details: p.Details,
		JobID: p.JobID, Available: p.Available, Retryable: p.Retryable, RetryAfter: p.RetryAfter,
	}
}
