variable "region" {
  description = "Where the subnet is."
  type        = string
  nullable    = false
}

variable "range" {
  description = "The subnet's private addresses."
  type        = string
  nullable    = false
}

variable "platform_account" {
  description = "The service account of the one instance that IAP may reach."
  type        = string
  nullable    = false
}
