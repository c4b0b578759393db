variable "name" {
  description = "The bucket's name."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Where the bucket is."
  type        = string
  nullable    = false
}

variable "prefix" {
  description = "The folder under which the platform keeps everything, without a slash at either end."
  type        = string

  validation {
    condition     = var.prefix != "" && !startswith(var.prefix, "/") && !endswith(var.prefix, "/")
    error_message = "prefix must be a folder without a slash at either end."
  }
}

variable "kms_key" {
  description = "The Cloud KMS key that encrypts the objects; null leaves it to Google's keys."
  type        = string
}

variable "report_days" {
  description = "After how many days pages and figures of drift reports are deleted."
  type        = number
  nullable    = false
}

variable "log_days" {
  description = "After how many days the logs of runs are deleted."
  type        = number
  nullable    = false
}

variable "decision_days" {
  description = "After how many days the prediction log is deleted."
  type        = number
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether a bucket that is not empty refuses to be destroyed."
  type        = bool
  nullable    = false
}

variable "platform_member" {
  description = "The service account of the Dagster services, as an IAM member."
  type        = string
  nullable    = false
}

variable "mlflow_member" {
  description = "The service account of the tracking server, as an IAM member."
  type        = string
  nullable    = false
}

variable "scoring_member" {
  description = "The service account of the scoring server, as an IAM member."
  type        = string
  nullable    = false
}
