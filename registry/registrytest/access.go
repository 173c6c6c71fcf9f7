package registrytest

import "net/http"

// enter identifies the client. If its login is rejected, enter responds and returns false.
func (c *call) enter() (login, bool) {
	d := c.reg.Dialect
	if d.open {
		return login{}, true
	}
	l := c.reg.basicOrBearer(c.req)
	hasEndpoint := d.token.path != ""
	if l.basic && hasEndpoint && !d.basic {
		c.answer(d.basicRefused.or(c.unauthorized()))
		return l, false
	}
	c.note(l)
	switch {
	case l.state == loginNone:
		// With tokens, even public repositories require one. With Basic alone, they need no login.
		if !hasEndpoint && c.gaps["repository"] != "" && c.reg.may(l, "pull", c.gaps["repository"]) {
			return l, true
		}
		c.answer(c.unauthorized())
		return l, false
	case l.state == loginExpired:
		c.answer(d.expiredLogin.or(d.badLogin, c.unauthorized()))
		return l, false
	case l.state == loginBad && (l.basic || !hasEndpoint):
		c.answer(d.badLogin.or(c.unauthorized()))
		return l, false
	case l.state == loginBad:
		c.answer(d.badToken.or(unauthorized.with(c.genericChallenge() + `,error="invalid_token"`)))
		return l, false
	}
	return l, true
}

func (c *call) unauthorized() Answer {
	a := c.reg.Dialect.unauthorized.or(unauthorized.with(c.genericChallenge()))
	if c.gaps["scope"] == "" {
		return c.reg.Dialect.ping.or(a)
	}
	return a
}

func (c *call) genericChallenge() string {
	if c.reg.Dialect.token.path == "" {
		return `Basic realm="registry"`
	}
	return `Bearer realm="{scheme}://{tokenhost}` + c.reg.Dialect.token.path + `",service="{host}"[,scope="{scope}"]`
}

func (c *call) denied(l login) Answer {
	d := c.reg.Dialect
	denied := d.denied.or(oci(403, "DENIED", "requested access to the resource is denied", ""))
	if l.anonymous() {
		return d.deniedAnonymous.or(denied)
	}
	return denied
}

// allowed reports whether the login may perform the action on the repository, which exists. Otherwise it responds.
func (c *call) allowed(l login, action string) bool {
	d := c.reg.Dialect
	repository := c.gaps["repository"]
	exists := c.reg.exists(repository)
	may := c.reg.may(l, action, repository)
	if action == "push" {
		switch {
		case !may:
			c.answer(c.denied(l))
		case !exists && !d.pushMissing.isZero():
			c.answer(d.pushMissing)
		default:
			return true
		}
		return false
	}
	switch {
	case !exists && !d.projectMissing.isZero() && !c.reg.projectExists(c.gaps["project"]):
		c.answer(d.projectMissing)
	case !may && (exists || d.hides):
		c.answer(c.denied(l))
	case !exists && c.gaps["reference"] == "":
		c.answer(d.tagsMissing.or(d.repositoryMissing, nameUnknown))
	case !exists:
		c.answer(d.repositoryMissing.or(nameUnknown))
	default:
		return true
	}
	return false
}

func (c *call) servePing() {
	if _, ok := c.enter(); ok {
		c.answer(c.reg.Dialect.pong.or(Answer{Status: http.StatusOK, Body: "{}"}))
	}
}
