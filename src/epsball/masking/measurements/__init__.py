"""What checks measure: functions of a trial, each made once and shared."""
