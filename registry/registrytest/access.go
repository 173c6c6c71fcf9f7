package registrytest

import "net/http"

// enter finds out who asks. If that alone is refused, it answers and returns false.
func (c *call) enter() (login, bool) {
	d := c.reg.Dialect
	if d.Open {
		return login{}, true
	}
	l := c.reg.basicOrBearer(c.req)
	hasEndpoint := d.Token.Path != ""
	if l.basic && hasEndpoint && !d.Basic {
		c.answer(d.BasicRefused.or(c.unauthorized()))
		return l, false
	}
	c.note(l)
	switch {
	case l.state == loginNone:
		// With tokens, even what is public is asked for with one; with Basic alone there is nothing else to ask with.
		if !hasEndpoint && c.gaps["repository"] != "" && c.reg.may(l, "pull", c.gaps["repository"]) {
			return l, true
		}
		c.answer(c.unauthorized())
		return l, false
	case l.state == loginExpired:
		c.answer(d.ExpiredLogin.or(d.BadLogin, c.unauthorized()))
		return l, false
	case l.state == loginBad && (l.basic || !hasEndpoint):
		c.answer(d.BadLogin.or(c.unauthorized()))
		return l, false
	case l.state == loginBad:
		c.answer(d.BadToken.or(unauthorized.with(c.genericChallenge() + `,error="invalid_token"`)))
		return l, false
	}
	return l, true
}

func (c *call) unauthorized() Answer {
	a := c.reg.Dialect.Unauthorized.or(unauthorized.with(c.genericChallenge()))
	if c.gaps["scope"] == "" {
		return c.reg.Dialect.Ping.or(a)
	}
	return a
}

func (c *call) genericChallenge() string {
	if c.reg.Dialect.Token.Path == "" {
		return `Basic realm="registry"`
	}
	return `Bearer realm="{scheme}://{tokenhost}` + c.reg.Dialect.Token.Path + `",service="{host}"[,scope="{scope}"]`
}

func (c *call) denied(l login) Answer {
	d := c.reg.Dialect
	denied := d.Denied.or(oci(403, "DENIED", "requested access to the resource is denied", ""))
	if l.anonymous() {
		return d.DeniedAnonymous.or(denied)
	}
	return denied
}

// allowed reports whether the login may do the action on the repository, which exists; else it answers.
func (c *call) allowed(l login, action string) bool {
	d := c.reg.Dialect
	repository := c.gaps["repository"]
	exists := c.reg.exists(repository)
	may := c.reg.may(l, action, repository)
	if action == "push" {
		switch {
		case !may:
			c.answer(c.denied(l))
		case !exists && !d.PushMissing.isZero():
			c.answer(d.PushMissing)
		default:
			return true
		}
		return false
	}
	switch {
	case !exists && !d.ProjectMissing.isZero() && !c.reg.projectExists(c.gaps["project"]):
		c.answer(d.ProjectMissing)
	case !may && (exists || d.Hides):
		c.answer(c.denied(l))
	case !exists && c.gaps["reference"] == "":
		c.answer(d.TagsMissing.or(d.RepositoryMissing, nameUnknown))
	case !exists:
		c.answer(d.RepositoryMissing.or(nameUnknown))
	default:
		return true
	}
	return false
}

func (c *call) servePing() {
	if _, ok := c.enter(); ok {
		c.answer(Answer{Status: http.StatusOK, Body: "{}"})
	}
}
