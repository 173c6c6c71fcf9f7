package ecr

// PullPolicy is the smallest IAM policy with which an identity pulls images of its own account. Where only some
// repositories are meant, their ARNs stand for the star of the second statement. A repository of another account must
// allow the same three actions in its own policy as well.
const PullPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},` +
	`{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"*"}]}`
