variable "id" {
  description = "The secret's name in Secret Manager."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]+$", var.id))
    error_message = "id must have small letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where the secret is kept."
  type        = string
  nullable    = false
}

variable "readers" {
  description = "Who may read the value, as IAM members by service; nobody else."
  type        = map(string)

  validation {
    condition     = length(var.readers) > 0
    error_message = "A secret that nobody may read is not needed."
  }
}

variable "generation" {
  description = "Raised to have the value written anew; null leaves the value to a person."
  type        = number

  validation {
    condition     = var.generation == null || coalesce(var.generation, 1) >= 1
    error_message = "generation must be at least 1, or null."
  }
}

variable "value" {
  description = "The value; null has 48 random letters and digits generated."
  type        = string
  default     = null
  ephemeral   = true
}

variable "pinned" {
  description = "The version that a person added and that is used instead of Terraform's; null for none."
  type        = string
  default     = null
}
