variable "environment" {
  description = "staging or prod: what LOAN_DEFAULT_ENV is."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Where the services run."
  type        = string
  nullable    = false
}

variable "network" {
  description = "The network that they send into."
  type        = string
  nullable    = false
}

variable "subnetwork" {
  description = "The subnet that they have addresses in."
  type        = string
  nullable    = false
}

variable "images" {
  description = "The images by digest; CI deploys later ones."
  type        = object({ mlflow = string, scoring = string })
  nullable    = false
}

variable "storage" {
  description = "What LOAN_DEFAULT_STORAGE is: gs://<bucket>/<prefix>."
  type        = string

  validation {
    condition     = startswith(var.storage, "gs://")
    error_message = "storage must be gs://<bucket>/<prefix>."
  }
}

variable "mlflow_url" {
  description = "Where MLflow answers."
  type        = string

  validation {
    condition     = startswith(var.mlflow_url, "https://")
    error_message = "mlflow_url must begin with https://."
  }
}

variable "mlflow_user" {
  description = "The name that platform and scoring server log in to MLflow with."
  type        = string
  nullable    = false
}

variable "secrets" {
  description = "The secrets that the services are given, by name: where they are and which version."
  type        = map(object({ id = string, version = string }))
  nullable    = false
}

variable "accounts" {
  description = "Addresses of the service accounts, by service."
  type        = map(string)
  nullable    = false
}

variable "members" {
  description = "The service accounts as IAM members, by service."
  type        = map(string)
  nullable    = false
}

variable "names" {
  description = "The service accounts' full names, by service."
  type        = map(string)
  nullable    = false
}

variable "scoring" {
  description = "How the scoring server scales, from where it can be reached, and when it counts as started."
  type = object({
    min             = number
    max             = number
    concurrency     = number
    ingress         = string
    waits_for_model = bool
  })

  validation {
    condition     = var.scoring.ingress != "INGRESS_TRAFFIC_ALL"
    error_message = "The scoring server is not published; put a load balancer before it."
  }
}

variable "scoring_invokers" {
  description = "Who asks for scores beside the platform, as IAM members."
  type        = list(string)

  validation {
    condition     = !anytrue([for who in var.scoring_invokers : startswith(who, "all")])
    error_message = "allUsers and allAuthenticatedUsers may not ask for scores."
  }
}

variable "deletion_protection" {
  description = "Whether the services refuse to be destroyed."
  type        = bool
  nullable    = false
}
