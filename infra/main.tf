# The platform on Google Cloud. Each module is one concern; what they are given here is all that they know.
# The first apply has no images yet: it makes everything that does not run them, the registry too. See docs/deploy.md.

locals {
  apis = [
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "iap.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "servicenetworking.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ]

  # Cloud Run's own form of an address, which is known before the service is there: each needs the other's.
  url = { for service in ["mlflow", "scoring"] : service => "https://${service}-${data.google_project.this.number}.${var.region}.run.app" }

  mlflow_user = "admin"

  # Who reads which secret. Those of people begin without a value.
  secrets = {
    mlflow-admin-password = { readers = ["mlflow", "platform", "scoring"], generated = true }
    mlflow-flask-key      = { readers = ["mlflow"], generated = true }
    api-tokens            = { readers = ["platform", "scoring"], generated = true }
    admin-tokens          = { readers = ["platform", "scoring"], generated = true }
    slack-webhook-url     = { readers = ["platform"], generated = false }
    smtp-password         = { readers = ["platform"], generated = false }
  }

  secret = merge(
    { for id, secret in module.secret : id => { id = secret.id, version = secret.version } },
    { for database, secret in module.database.secrets : "${database}-database-url" => secret },
  )

  platform_settings = merge(var.settings, {
    LOAN_DEFAULT_ENV                = var.environment
    LOAN_DEFAULT_STORAGE            = module.storage.root
    LOAN_DEFAULT_SERVING_URL        = local.url.scoring
    LOAN_DEFAULT_SERVING_SUPERVISED = "true"
    LOAN_DEFAULT_MLFLOW_UI          = "http://127.0.0.1:5000" # as an operator's tunnel has it
    MLFLOW_TRACKING_URI             = local.url.mlflow
    MLFLOW_TRACKING_USERNAME        = local.mlflow_user
  })

  # Which variable each secret is; those that nobody has given a value are left out.
  platform_secrets = { for name, id in {
    LOAN_DEFAULT_DAGSTER_STORAGE = "dagster-database-url"
    LOAN_DEFAULT_STUDY_STORAGE   = "optuna-database-url"
    MLFLOW_TRACKING_PASSWORD     = "mlflow-admin-password"
    LOAN_DEFAULT_API_TOKENS      = "api-tokens"
    LOAN_DEFAULT_ADMIN_TOKENS    = "admin-tokens"
    SLACK_WEBHOOK_URL            = "slack-webhook-url"
    SMTP_PASSWORD                = "smtp-password"
  } : name => local.secret[id] if !contains(["slack-webhook-url", "smtp-password"], id) || contains(keys(var.secret_versions), id) }
}

data "google_project" "this" {
  project_id = var.project_id
}

resource "google_project_service" "this" {
  for_each = toset(local.apis)

  service            = each.value
  disable_on_destroy = false
}

module "identity" {
  source = "./modules/identity"

  project_id  = var.project_id
  environment = var.environment
  repository  = var.github_repository
  ref         = var.github_ref

  depends_on = [google_project_service.this]
}

module "network" {
  source = "./modules/network"

  region           = var.region
  range            = var.network_range
  platform_account = module.identity.accounts.platform

  depends_on = [google_project_service.this]
}

module "storage" {
  source = "./modules/storage"

  name                = var.bucket_name
  region              = var.region
  prefix              = var.storage_prefix
  kms_key             = var.kms_key
  report_days         = var.report_days
  log_days            = var.log_days
  decision_days       = var.decision_days
  deletion_protection = var.deletion_protection
  platform_member     = module.identity.members.platform
  mlflow_member       = module.identity.members.mlflow
  scoring_member      = module.identity.members.scoring

  depends_on = [google_project_service.this]
}

module "registry" {
  source = "./modules/registry"

  region  = var.region
  writer  = module.identity.members.ci
  readers = merge({ platform = module.identity.members.platform }, { for who in var.image_readers : who => who })

  depends_on = [google_project_service.this]
}

module "secret" {
  source   = "./modules/secret"
  for_each = local.secrets

  id         = each.key
  region     = var.region
  readers    = { for service in each.value.readers : service => module.identity.members[service] }
  generation = each.value.generated ? lookup(var.secret_generations, each.key, 1) : null
  pinned     = lookup(var.secret_versions, each.key, null)

  depends_on = [google_project_service.this]
}

module "database" {
  source = "./modules/database"

  region              = var.region
  network             = module.network.network
  database_version    = var.database_version
  tier                = var.database_tier
  available           = var.database_available
  backups             = var.database_backups
  deletion_protection = var.deletion_protection
  members             = module.identity.members
  generations         = var.secret_generations
}

module "services" {
  source = "./modules/services"
  count  = var.images == null ? 0 : 1

  environment         = var.environment
  region              = var.region
  network             = module.network.network
  subnetwork          = module.network.subnetwork
  images              = { mlflow = var.images.mlflow, scoring = var.images.scoring }
  storage             = module.storage.root
  mlflow_url          = local.url.mlflow
  mlflow_user         = local.mlflow_user
  secrets             = { for id in ["mlflow-database-url", "mlflow-admin-password", "mlflow-flask-key", "api-tokens", "admin-tokens"] : id => local.secret[id] }
  accounts            = module.identity.accounts
  members             = module.identity.members
  names               = module.identity.names
  scoring_invokers    = var.scoring_invokers
  deletion_protection = var.deletion_protection

  scoring = {
    min             = var.scoring_instances.min
    max             = var.scoring_instances.max
    concurrency     = var.scoring_concurrency
    ingress         = var.scoring_ingress
    waits_for_model = var.scoring_waits_for_model
  }
}

module "platform" {
  source = "./modules/platform"
  count  = var.images == null ? 0 : 1

  zone                = var.zone
  machine_type        = var.machine_type
  subnetwork          = module.network.subnetwork
  account             = module.identity.accounts.platform
  account_name        = module.identity.names.platform
  image               = var.images.platform
  docker              = "${path.root}/../docker"
  settings            = local.platform_settings
  secrets             = local.platform_secrets
  operators           = var.operators
  deletion_protection = var.deletion_protection

  # What it is given when it starts has to be there.
  depends_on = [module.services, module.storage, module.registry, module.identity]
}

module "watching" {
  source = "./modules/watching"
  count  = var.images == null ? 0 : 1

  environment       = var.environment
  project_id        = var.project_id
  project_number    = data.google_project.this.number
  region            = var.region
  scoring_service   = module.services[0].names.scoring
  database_instance = module.database.instance
  emails            = var.alert_emails
  channels          = var.notification_channels
  objectives        = var.objectives
  billing_account   = var.billing_account
  budget            = var.monthly_budget
}
