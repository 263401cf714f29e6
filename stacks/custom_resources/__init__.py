"""What CloudFormation has done at deploy and delete time by functions and copies of files."""
