variable "region" {
  description = "Where the images are."
  type        = string
  nullable    = false
}

variable "writer" {
  description = "Who pushes images, as an IAM member."
  type        = string
  nullable    = false
}

variable "readers" {
  description = "Who pulls images, as IAM members by a name of their own."
  type        = map(string)
  nullable    = false
}
