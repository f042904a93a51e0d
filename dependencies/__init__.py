"""What Squizzle is made of besides itself: under which licences, and whether anybody has warned of it."""
