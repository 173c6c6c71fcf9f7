package ecr

// PullPolicy is the smallest IAM policy with which an identity pulls images of its own account. Where only some
// repositories are meant, their ARNs stand for the star of the second statement. A repository of another account must
// allow the same three actions in its own policy as well.
const PullPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},` +
	`{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"*"}]}`

// ListPolicy is [PullPolicy] with what a picker of repositories and tags needs: ecr:DescribeRepositories for the list of
// repositories, and ecr:ListImages for that of tags. A program that only pulls does not need it.
const ListPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:DescribeRepositories"],"Resource":"*"},` +
	`{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage","ecr:ListImages"],"Resource":"*"}]}`
