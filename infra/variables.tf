# What differs between staging and prod, and what an installation chooses. Nothing here is a secret.

# --- where

variable "environment" {
  description = "Which of the two this is; the platform runs with the same LOAN_DEFAULT_ENV."
  type        = string

  validation {
    condition     = contains(["staging", "prod"], var.environment)
    error_message = "environment must be staging or prod."
  }
}

variable "project_id" {
  description = "The Google Cloud project of this environment; each has its own."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project's id: 6 to 30 small letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "Where everything runs and is kept, as europe-west3."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region, as europe-west3."
  }
}

variable "zone" {
  description = "Where the instance with the Dagster services runs; a zone of the region."
  type        = string

  validation {
    condition     = startswith(var.zone, "${var.region}-")
    error_message = "zone must be a zone of the region, as europe-west3-a."
  }
}

variable "network_range" {
  description = "The private addresses of the subnet; the scoring server takes about two for each instance."
  type        = string
  default     = "10.20.0.0/24"

  validation {
    condition     = can(cidrhost(var.network_range, 0)) && can(regex("^(10|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\.", var.network_range))
    error_message = "network_range must be a private range, as 10.20.0.0/24."
  }
}

# --- what is kept

variable "bucket_name" {
  description = "The bucket of loans, predictions, reports and models; bucket names are unique in the whole world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name must have 3 to 63 small letters, digits, hyphens and underscores."
  }
}

variable "storage_prefix" {
  description = "The folder in the bucket under which everything lies: LOAN_DEFAULT_STORAGE is gs://<bucket>/<prefix>."
  type        = string
  default     = "loan-default"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9/_-]*[a-z0-9]$", var.storage_prefix))
    error_message = "storage_prefix must be a folder without a slash at either end."
  }
}

variable "kms_key" {
  description = "A Cloud KMS key (projects/…/cryptoKeys/…) that encrypts what is in the bucket; null leaves it to Google's keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key must be projects/…/locations/…/keyRings/…/cryptoKeys/…, or null."
  }
}

variable "report_days" {
  description = "After how many days Evidently's pages and figures are deleted; the verdicts on drift stay."
  type        = number
  default     = 400

  validation {
    condition     = var.report_days >= 90
    error_message = "report_days must be at least 90."
  }
}

variable "log_days" {
  description = "After how many days the logs of runs are deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.log_days >= 14
    error_message = "log_days must be at least 14."
  }
}

variable "decision_days" {
  description = "After how many days the prediction log is deleted: what each applicant was told and on what it rests. By default the 25 months of Regulation B (12 CFR 1002.12(b))."
  type        = number
  default     = 762

  validation {
    condition     = var.decision_days >= 90
    error_message = "decision_days must be at least 90."
  }
}

variable "deletion_protection" {
  description = "Whether the database, the instance, the services and a bucket that is not empty refuse to be destroyed."
  type        = bool
  default     = true
}

# --- the database

variable "database_version" {
  description = "Which Postgres Cloud SQL runs; tests and compose run 15."
  type        = string
  default     = "POSTGRES_18"

  validation {
    condition     = can(regex("^POSTGRES_1[5-9]$", var.database_version))
    error_message = "database_version must be POSTGRES_15 or later."
  }
}

variable "database_tier" {
  description = "The size of the database's machine, as db-custom-<cores>-<MB>."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    condition     = can(regex("^db-(custom-[0-9]+-[0-9]+|g1-small|f1-micro)$", var.database_tier))
    error_message = "database_tier must be db-custom-<cores>-<MB>, db-g1-small or db-f1-micro."
  }
}

variable "database_available" {
  description = "ZONAL: one machine; REGIONAL: a second one in another zone takes over."
  type        = string
  default     = "ZONAL"

  validation {
    condition     = contains(["ZONAL", "REGIONAL"], var.database_available)
    error_message = "database_available must be ZONAL or REGIONAL."
  }
}

variable "database_backups" {
  description = "How many daily backups are kept."
  type        = number
  default     = 30

  validation {
    condition     = var.database_backups >= 7 && var.database_backups <= 365
    error_message = "database_backups must be from 7 to 365."
  }
}

# --- what runs

variable "images" {
  description = "The three images by digest. Null is for the first apply, which makes the registry that they are pushed to."
  type        = object({ platform = string, mlflow = string, scoring = string })
  default     = null

  validation {
    condition     = var.images == null ? true : alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "Every image must be named by digest, as …-docker.pkg.dev/…/loan-default-scoring@sha256:…."
  }
}

variable "machine_type" {
  description = "The instance with webserver, daemon and code server; training runs on it too."
  type        = string
  default     = "e2-standard-4"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z0-9]+(-[0-9]+)?$", var.machine_type))
    error_message = "machine_type must be a machine type, as e2-standard-4."
  }
}

variable "settings" {
  description = "Further settings of the platform that are no secrets, as LOAN_DEFAULT_DATA or LOAN_DEFAULT_SCHEDULES."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("TOKEN|PASSWORD|SECRET|WEBHOOK|_STORAGE$", name))])
    error_message = "settings takes names as LOAN_DEFAULT_DATA; secrets belong in Secret Manager, and what the platform stores in is set already."
  }
}

variable "scoring_instances" {
  description = "How many instances of the scoring server stand ready at least, and run at most."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 4 }

  validation {
    condition     = var.scoring_instances.min >= 1 && var.scoring_instances.max >= var.scoring_instances.min && var.scoring_instances.max <= 100
    error_message = "scoring_instances needs 1 <= min <= max <= 100."
  }
}

variable "scoring_concurrency" {
  description = "How many requests one instance of the scoring server answers at once."
  type        = number
  default     = 64

  validation {
    condition     = var.scoring_concurrency >= 1 && var.scoring_concurrency <= 1000
    error_message = "scoring_concurrency must be from 1 to 1000."
  }
}

variable "scoring_waits_for_model" {
  description = "Whether an instance counts as started only once it has loaded the version in production. False before there is one."
  type        = bool
  default     = true
}

variable "scoring_ingress" {
  description = "From where the scoring server can be reached at all: the project's network, or also a load balancer before it."
  type        = string
  default     = "INGRESS_TRAFFIC_INTERNAL_ONLY"

  validation {
    condition     = contains(["INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"], var.scoring_ingress)
    error_message = "scoring_ingress must be INGRESS_TRAFFIC_INTERNAL_ONLY or INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER."
  }
}

# --- who

variable "operators" {
  description = "Who may reach the instance and the UIs through IAP, as group:ml-platform@example.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.operators : can(regex("^(user|group):.+@.+$", who))])
    error_message = "operators must be user:… or group:…; never everybody."
  }
}

variable "scoring_invokers" {
  description = "Who may ask the scoring server beside the platform, as serviceAccount:loan-origination@….iam.gserviceaccount.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.scoring_invokers : can(regex("^(user|group|serviceAccount):.+@.+$", who))])
    error_message = "scoring_invokers must be user:…, group:… or serviceAccount:…; never everybody."
  }
}

variable "image_readers" {
  description = "Who else may pull images from here: prod's CI account, which copies what staging ran."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.image_readers : can(regex("^serviceAccount:.+@.+$", who))])
    error_message = "image_readers must be serviceAccount:…; never everybody."
  }
}

variable "github_repository" {
  description = "The repository whose workflows push images and deploy, as owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must be owner/name."
  }
}

variable "github_ref" {
  description = "The one branch that may deploy."
  type        = string
  default     = "refs/heads/main"

  validation {
    condition     = can(regex("^refs/heads/[A-Za-z0-9._/-]+$", var.github_ref))
    error_message = "github_ref must be a branch, as refs/heads/main."
  }
}

# --- secrets: their values are in Secret Manager only

variable "secret_generations" {
  description = "Raise a secret's number to have Terraform generate it anew, as { dagster-database-url = 2 }; all begin at 1."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for number in values(var.secret_generations) : number >= 1 && floor(number) == number])
    error_message = "secret_generations must be whole numbers from 1."
  }
}

variable "secret_versions" {
  description = "The version of a secret that a person added, as { api-tokens = \"3\", slack-webhook-url = \"1\" }."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([for secret, version in var.secret_versions :
      contains(["api-tokens", "admin-tokens", "slack-webhook-url", "smtp-password"], secret) && can(regex("^[1-9][0-9]*$", version))
    ])
    error_message = "secret_versions takes api-tokens, admin-tokens, slack-webhook-url and smtp-password, each with a version's number."
  }
}

# --- watching

variable "billing_account" {
  description = "The billing account that the budget watches, as 012345-6789AB-CDEF01."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account must be an account's id, as 012345-6789AB-CDEF01."
  }
}

variable "monthly_budget" {
  description = "What a month may cost before people are told; currency is that of the billing account."
  type        = object({ amount = number, currency = string })

  validation {
    condition     = var.monthly_budget.amount >= 1 && can(regex("^[A-Z]{3}$", var.monthly_budget.currency))
    error_message = "monthly_budget must be an amount of at least 1 and a currency, as EUR."
  }
}

variable "alert_emails" {
  description = "Who gets mail when an objective is missed, a run fails, a batch drifts or money runs out."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", address))]) && length(var.alert_emails) <= 5
    error_message = "alert_emails must be at most 5 addresses, as a budget takes no more."
  }
}

variable "notification_channels" {
  description = "Further channels of Cloud Monitoring, as projects/…/notificationChannels/…; Slack and PagerDuty are made in the console."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", channel))])
    error_message = "notification_channels must be projects/…/notificationChannels/…."
  }
}

variable "objectives" {
  description = "What is promised of scoring over 28 days: the share of requests answered, and the share answered within so many ms."
  type        = object({ availability = number, latency_share = number, latency_ms = number })
  default     = { availability = 0.995, latency_share = 0.99, latency_ms = 300 }

  validation {
    condition = alltrue([for share in [var.objectives.availability, var.objectives.latency_share] :
      share >= 0.9 && share <= 0.9999
    ]) && var.objectives.latency_ms >= 10
    error_message = "objectives needs shares from 0.9 to 0.9999 and at least 10 ms."
  }
}
