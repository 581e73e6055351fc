"""What every kind of router learns from: tables of outcomes and battles as training examples."""
