variable "zone" {
  description = "Where the instance runs."
  type        = string
  nullable    = false
}

variable "machine_type" {
  description = "How large it is."
  type        = string
  nullable    = false
}

variable "subnetwork" {
  description = "The subnet that it has its private address in."
  type        = string
  nullable    = false
}

variable "account" {
  description = "The address of its service account."
  type        = string
  nullable    = false
}

variable "account_name" {
  description = "The full name of its service account."
  type        = string
  nullable    = false
}

variable "image" {
  description = "The platform's image by digest."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be named by digest."
  }
}

variable "docker" {
  description = "The folder with compose.yaml, compose.cloud.yaml and workspace.yaml."
  type        = string
  nullable    = false
}

variable "settings" {
  description = "The platform's settings that are no secrets, by variable."
  type        = map(string)

  validation {
    condition     = !anytrue([for value in values(var.settings) : can(regex("['\\n]", value))])
    error_message = "A setting may hold neither a quote nor a new line."
  }
}

variable "secrets" {
  description = "The secrets that it fetches when it starts, by variable: name and version."
  type        = map(object({ id = string, version = string }))

  validation {
    condition     = alltrue([for secret in values(var.secrets) : secret.version != "latest"])
    error_message = "Secrets are named by version."
  }
}

variable "operators" {
  description = "Who may reach the instance through IAP, as IAM members."
  type        = list(string)

  validation {
    condition     = !anytrue([for who in var.operators : startswith(who, "all")])
    error_message = "allUsers and allAuthenticatedUsers are no operators."
  }
}

variable "deletion_protection" {
  description = "Whether the instance refuses to be destroyed."
  type        = bool
  nullable    = false
}
