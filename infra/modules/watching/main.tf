# What people are told of: an objective of scoring that is being missed, runs that failed, batches that drifted, a daemon
# that is silent, a disk that fills, money.

locals {
  channels = concat(var.channels, [for channel in google_monitoring_notification_channel.email : channel.id])

  # What the daemon's container prints; Docker's gcplogs driver writes it under this name. The alert_sensor looks every 30 s
  # at all that happened, and its tick is a line, also where neither Slack nor mail is set up in the platform itself.
  daemon = "logName=\"projects/${var.project_id}/logs/gcplogs-docker-driver\" AND jsonPayload.message=~\"Sensor alert_sensor skipped: \""

  lines = {
    failed = {
      title = "A run failed"
      says  = "(People were|Nobody is) told.* failed \\\\(run "
      help  = "The line names the job. Open the run in Dagster; docs/deploy.md says how to reach the UI."
    }
    drifted = {
      title = "A batch drifted"
      says  = "(People were|Nobody is) told.* drifted against version "
      help  = "The line names the batch. Its drift report says which features moved; a retraining follows as the policy allows."
    }
    degraded = {
      title = "The version in production has degraded"
      says  = "(People were|Nobody is) told.* has degraded: "
      help  = "The performance report says by how much, and on which quarters."
    }
    unheard = {
      title = "Slack or the mail server takes no messages"
      says  = "did not take the message"
      help  = "See SLACK_WEBHOOK_URL and the SMTP settings; loan-default doctor --send-test-alert tries them."
    }
  }

  service_filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.scoring_service}\""
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.emails

  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
}

# --- what is promised of scoring

resource "google_monitoring_service" "scoring" {
  service_id   = "loan-default-scoring"
  display_name = "Scoring"

  basic_service {
    service_type = "CLOUD_RUN"
    service_labels = {
      service_name = var.scoring_service
      location     = var.region
    }
  }
}

# A refusal (4xx) is an answer.
resource "google_monitoring_slo" "availability" {
  service             = google_monitoring_service.scoring.service_id
  slo_id              = "availability"
  display_name        = "Requests answered"
  goal                = var.objectives.availability
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      total_service_filter = "metric.type=\"run.googleapis.com/request_count\" AND ${local.service_filter}"
      bad_service_filter   = "metric.type=\"run.googleapis.com/request_count\" AND ${local.service_filter} AND metric.labels.response_code_class=\"5xx\""
    }
  }
}

resource "google_monitoring_slo" "latency" {
  service             = google_monitoring_service.scoring.service_id
  slo_id              = "latency"
  display_name        = "Requests answered within ${var.objectives.latency_ms} ms"
  goal                = var.objectives.latency_share
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = "metric.type=\"run.googleapis.com/request_latencies\" AND ${local.service_filter}"

      range {
        max = var.objectives.latency_ms
      }
    }
  }
}

# At ten times the pace that the objective allows, a month's allowance is gone in three days.
resource "google_monitoring_alert_policy" "objective" {
  for_each = {
    availability = google_monitoring_slo.availability
    latency      = google_monitoring_slo.latency
  }

  display_name          = "Scoring: ${each.value.display_name}"
  combiner              = "AND"
  severity              = "ERROR"
  notification_channels = local.channels

  dynamic "conditions" {
    for_each = { "over an hour" = "3600s", "over five minutes" = "300s" }

    content {
      display_name = "Burns its allowance ten times too fast ${conditions.key}"

      condition_threshold {
        filter          = "select_slo_burn_rate(\"${each.value.name}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = 10
        duration        = "0s"
      }
    }
  }

  documentation {
    content   = "docs/deploy.md, What to do when the scoring server is down."
    mime_type = "text/markdown"
  }
}

# --- what the platform says of itself

resource "google_monitoring_alert_policy" "line" {
  for_each = local.lines

  display_name          = each.value.title
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = each.value.title

    condition_matched_log {
      filter = "${local.daemon} AND jsonPayload.message=~\"${each.value.says}\""
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "900s"
    }
  }

  documentation {
    content   = each.value.help
    mime_type = "text/markdown"
  }
}

# Two ticks a minute, whatever happens; none means that nothing is scored, retrained or told any more.
resource "google_logging_metric" "daemon_ticks" {
  name   = "loan-default/daemon-ticks"
  filter = local.daemon

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_alert_policy" "daemon" {
  display_name          = "Dagster's daemon is silent"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "No tick for 15 minutes"

    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.daemon_ticks.name}\" AND resource.type=\"gce_instance\""
      duration = "900s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "docs/deploy.md, What to do when the daemon is down."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "database_disk" {
  display_name          = "The database's disk fills"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = "Above 85 % for an hour"

    condition_threshold {
      filter          = "metric.type=\"cloudsql.googleapis.com/database/disk/utilization\" AND resource.type=\"cloudsql_database\" AND resource.labels.database_id=\"${var.project_id}:${var.database_instance}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0.85
      duration        = "3600s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MEAN"
      }
    }
  }
}

# --- money

resource "google_billing_budget" "this" {
  billing_account = var.billing_account
  display_name    = "loan-default ${var.environment}"

  budget_filter {
    projects = ["projects/${var.project_number}"]
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(floor(var.budget.amount))
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }
  threshold_rules {
    threshold_percent = 0.9
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  }
}
