variable "region" {
  description = "Where the database is."
  type        = string
  nullable    = false
}

variable "network" {
  description = "The network that it has its private address in."
  type        = string
  nullable    = false
}

variable "database_version" {
  description = "Which Postgres it is, as POSTGRES_18."
  type        = string
  nullable    = false
}

variable "tier" {
  description = "The size of its machine."
  type        = string
  nullable    = false
}

variable "available" {
  description = "ZONAL or REGIONAL."
  type        = string
  nullable    = false
}

variable "backups" {
  description = "How many daily backups are kept."
  type        = number
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether the instance refuses to be destroyed."
  type        = bool
  nullable    = false
}

variable "members" {
  description = "The service accounts as IAM members, by service."
  type        = map(string)
  nullable    = false
}

variable "generations" {
  description = "Generations of secrets that are above 1, by secret."
  type        = map(number)
  nullable    = false
}
