variable "environment" {
  description = "staging or prod."
  type        = string
  nullable    = false
}

variable "project_id" {
  description = "The project whose logs and metrics are watched."
  type        = string
  nullable    = false
}

variable "project_number" {
  description = "The project's number, which a budget asks for."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Where the scoring server runs."
  type        = string
  nullable    = false
}

variable "scoring_service" {
  description = "The scoring server's Cloud Run service."
  type        = string
  nullable    = false
}

variable "database_instance" {
  description = "The Cloud SQL instance."
  type        = string
  nullable    = false
}

variable "emails" {
  description = "Who gets mail."
  type        = set(string)
  nullable    = false
}

variable "channels" {
  description = "Further channels of Cloud Monitoring."
  type        = list(string)
  nullable    = false
}

variable "objectives" {
  description = "What is promised of scoring: shares of requests, and milliseconds."
  type        = object({ availability = number, latency_share = number, latency_ms = number })
  nullable    = false
}

variable "billing_account" {
  description = "The billing account."
  type        = string
  nullable    = false
}

variable "budget" {
  description = "What a month may cost."
  type        = object({ amount = number, currency = string })
  nullable    = false
}
