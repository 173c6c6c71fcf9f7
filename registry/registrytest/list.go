package registrytest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

func (c *call) serveTags() {
	l, ok := c.enter()
	if !ok || !c.allowed(l, "pull") {
		return
	}
	name := c.gaps["repository"]
	list := c.reg.Dialect.tags
	page, ok := c.page(c.reg.tagsOf(name), list)
	if !ok {
		return
	}
	body := map[string]any{"name": name, "tags": page}
	if list.googleMaps {
		body["child"], body["manifest"] = []string{}, map[string]any{}
	}
	c.sendList(body)
}

func (c *call) serveCatalog() {
	d := c.reg.Dialect
	l, ok := c.enter()
	if !ok {
		return
	}
	allowed := c.reg.mayList(l)
	if t := l.token; allowed && t != nil && !d.token.byAccount && d.catalog.who == catalogForAdmins {
		allowed = slices.ContainsFunc(t.access, func(s scope) bool { return s.kind == "registry" && s.name == "catalog" })
	}
	if !allowed {
		c.answer(d.catalog.no.or(c.denied(l)))
		return
	}
	names := c.reg.repositories()
	if d.catalog.who == catalogForAll && !d.open {
		names = slices.DeleteFunc(names, func(name string) bool {
			return !matches(c.reg.Public, name) && !l.account.may("pull", name)
		})
	}
	if page, ok := c.page(names, d.catalog.listing); ok {
		c.sendList(map[string]any{"repositories": page})
	}
}

// page returns the requested page of a sorted list, and sets the link to the next page.
func (c *call) page(all []string, list listing) ([]string, bool) {
	n, ok := c.length(list)
	if !ok {
		return nil, false
	}
	start, ok := c.start(all, list)
	if !ok {
		return nil, false
	}
	page := append([]string{}, all[start:]...) // An empty list is [], not null.
	more := n >= 0 && len(page) > n
	if more {
		page = page[:n]
	}
	switch {
	case len(page) == 0:
		return page, true
	case !more && (list.trailing == trailingNever || list.trailing == trailingIfFull && len(page) != n):
		return page, true
	}
	next := page[len(page)-1]
	if list.cursor != "" {
		next = c.reg.cursor(next)
	}
	query := url.Values{list.parameter(): {next}}
	if n >= 0 {
		query.Set("n", strconv.Itoa(n))
	}
	link := url.URL{Path: c.req.URL.Path, RawQuery: query.Encode()}
	c.w.Header().Set("Link", "<"+link.String()+`>; rel="next"`)
	return page, true
}

// length returns the length of the page; negative means unlimited.
func (c *call) length(list listing) (n int, ok bool) {
	if size := c.reg.PageSize; size > 0 {
		list.pageSize, list.maxSize, list.tooMany = size, size, tooManyN
	}
	text := c.req.URL.Query().Get("n")
	if text == "" {
		if list.pageSize == 0 {
			return -1, true
		}
		return list.pageSize, true
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 0:
		c.answer(oci(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", ""))
		return 0, false
	case list.maxSize == 0 || n <= list.maxSize:
		return n, true
	case !list.tooMany.isZero():
		c.answer(list.tooMany)
		return 0, false
	}
	return list.maxSize, true
}

func (l listing) parameter() string {
	if l.cursor == "" {
		return "last"
	}
	return l.cursor
}

// start returns the index of the page's first entry in the list.
func (c *call) start(all []string, list listing) (start int, ok bool) {
	last := c.req.URL.Query().Get(list.parameter())
	if last == "" {
		return 0, true
	}
	if list.cursor != "" {
		last = c.reg.openCursor(last)
	}
	start, found := slices.BinarySearch(all, last)
	switch {
	case found:
		return start + 1, true
	case !list.badLast.isZero():
		c.answer(list.badLast)
		return 0, false
	case list.cursor != "":
		return 0, true
	}
	return start, true
}

// cursor returns an opaque cursor. A client cannot forge it.
func (r *Registry) cursor(name string) string {
	return base64.URLEncoding.EncodeToString([]byte(r.signed + name))
}

func (r *Registry) openCursor(mark string) string {
	b, err := base64.URLEncoding.DecodeString(mark)
	if err != nil || len(b) < len(r.signed) || string(b[:len(r.signed)]) != r.signed {
		return ""
	}
	return string(b[len(r.signed):])
}

func (c *call) sendList(list map[string]any) {
	body, _ := json.Marshal(list) // A list of strings always encodes.
	c.w.Header().Set("Content-Type", "application/json")
	c.dialectHeader()
	writeBody(c.w, c.req, http.StatusOK, append(body, '\n'))
}
