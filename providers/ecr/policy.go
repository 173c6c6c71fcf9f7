package ecr

// PullPolicy is the smallest IAM policy that allows an identity to pull images of its own account. To restrict it to
// some repositories, replace the star of the second statement with their ARNs. A repository of another account must
// also allow the same three actions in its own policy.
const PullPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},` +
	`{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"*"}]}`

// ListPolicy is [PullPolicy] with the permissions for a picker of repositories and tags: ecr:DescribeRepositories to
// list repositories, and ecr:ListImages to list tags. A program that only pulls does not need it.
const ListPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:DescribeRepositories"],"Resource":"*"},` +
	`{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage","ecr:ListImages"],"Resource":"*"}]}`
