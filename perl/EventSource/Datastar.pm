package EventSource::Datastar;
use strict;
use warnings;

# The events that Datastar 1.0 takes from a server, and the signals that it sends to one. Its SDK's rules are at
# https://github.com/starfederation/datastar/blob/main/sdk/ADR.md.

our $VERSION = '0.100';

use EventSource::XS::RequestBody;
use EventSource::XS::Settings;
use JSON::MaybeXS ();
use Plack::Request;
use Plack::Util ();

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $JSON     = JSON::MaybeXS->new(utf8 => 1);

my @MODES = qw(outer inner replace prepend append before after remove);

# A mode without a selector finds each element by its id.
my %NEEDS_NO_SELECTOR = (outer => 1, replace => 1);

# The fields that any event may have, for push and publish.
my @FIELDS = qw(comment id key once retain retry);

my $MAX_SIGNALS = 1 << 20;    # bytes

# Where Plack::Request puts a body that it has read.
my @INPUT = qw(psgi.input psgix.input.buffered);

# Public methods

sub execute_script {
    my ($class, $script, @given) = @_;
    my %given = _options([qw(attributes auto_remove)], @given);
    my ($attributes, $is_removed) = (delete $given{attributes}, delete $given{auto_remove});
    $script = $SETTINGS->string(script => $script) // $SETTINGS->refuse(script => 'script is required');
    $SETTINGS->refuse(script => q{script must not contain "</script" or "<!--": write \x3C for the <})
        if $script =~ m{<(?:/script|!--)}i;
    $SETTINGS->refuse(attributes => 'attributes must be a hash') if defined $attributes && ref $attributes ne 'HASH';
    my %attribute = (($is_removed // 1 ? ('data-effect' => 'el.remove()') : ()), %{$attributes || {}});
    my $tag       = join ' ', 'script', map { _attribute($_, $attribute{$_}) } sort keys %attribute;
    return $class->patch_elements("<$tag>$script</script>", %given, selector => 'body', mode => 'append');
}

sub patch_elements {
    my ($class, $elements, @given) = @_;
    my %given = _options([qw(mode namespace selector use_view_transition)], @given);
    my ($mode, $namespace, $selector, $has_transition) = delete @given{qw(mode namespace selector use_view_transition)};
    $SETTINGS->one_of(mode      => $mode,      @MODES);
    $SETTINGS->one_of(namespace => $namespace, qw(html svg mathml));
    $SETTINGS->one_line(selector => $selector);
    $elements = $SETTINGS->string(elements => $elements);
    $mode //= 'outer';
    $SETTINGS->refuse(selector => "mode '$mode' needs a selector") if !defined $selector && !$NEEDS_NO_SELECTOR{$mode};
    $SETTINGS->refuse(elements => 'elements are required')         if !defined $elements && $mode ne 'remove';
    my @lines = (
        defined $selector                          ? "selector $selector"     : (),
        $mode ne 'outer'                           ? "mode $mode"             : (),
        defined $namespace && $namespace ne 'html' ? "namespace $namespace"   : (),
        $has_transition                            ? 'useViewTransition true' : (),
        _lines(elements => $elements),
    );
    return {%given, event => 'datastar-patch-elements', data => join "\n", @lines};
}

sub patch_signals {
    my ($class, $signals, @given) = @_;
    my %given      = _options(['only_if_missing'], @given);
    my $is_careful = delete $given{only_if_missing};
    $SETTINGS->refuse(signals => 'signals must be a hash, or a string of JSON')
        if ref $signals ? ref $signals ne 'HASH' : ($signals // '') !~ /\S/;
    my $json  = ref $signals ? $SETTINGS->json($signals) : $signals;
    my @lines = ($is_careful ? 'onlyIfMissing true' : (), _lines(signals => $json));
    return {%given, event => 'datastar-patch-signals', data => join "\n", @lines};
}

# The signals of a request; undef if it has none: what a client sends is never an exception. The body may be read again.
sub read_signals {
    my ($class, $request) = @_;
    my $env = _env($request);
    my $text =
        $env->{REQUEST_METHOD} =~ /\A(?:GET|HEAD|DELETE)\z/
        ? Plack::Request->new($env)->query_parameters->{datastar}
        : _body($env);
    local ($@, $SIG{__DIE__});
    my $signals = defined $text ? eval { $JSON->decode($text) } : undef;
    return ref $signals eq 'HASH' ? $signals : undef;
}

sub remove_elements {
    my ($class, $selector, @given) = @_;
    return $class->patch_elements(
        undef, _options(['use_view_transition'], @given),
        selector => $selector,
        mode     => 'remove'
    );
}

# Private functions

sub _attribute {
    my ($name, $value) = @_;
    $SETTINGS->refuse(attributes => "attributes: '$name' is not the name of an attribute")
        if $name !~ m{\A[^\s"'<>/=\0]+\z};
    return defined $value
        ? sprintf '%s="%s"', $name,
        Plack::Util::encode_html($SETTINGS->string("attribute $name" => $value, field => 'attributes'))
        : $name;
}

# Plack dies of a form that is malformed, so it reads a body without a type. A copy of the whole environment may take the
# server's socket.
sub _body {
    my $env  = shift;
    my $body = 'EventSource::XS::RequestBody';
    return undef if $body->refusal($env) || ($env->{CONTENT_LENGTH} || 0) > $MAX_SIGNALS || $body->buffer($env);
    my ($text, %untyped) = (undef, CONTENT_TYPE => '', map { ($_ => $env->{$_}) } 'CONTENT_LENGTH', @INPUT);
    $body->try_reading(sub { $text = Plack::Request->new(\%untyped)->content });
    @$env{@INPUT} = @untyped{@INPUT};
    return $text;
}

sub _env {
    my $request = shift;
    return $request if ref $request eq 'HASH';
    local ($@, $SIG{__DIE__});
    return eval { $request->env } // $SETTINGS->refuse(request => 'request must be a PSGI environment or a request');
}

# Each line of a text, behind the keyword. A CR alone ends a line too (HTML Standard, section 9.2.5).
sub _lines {
    my ($keyword, $text) = @_;
    return map { "$keyword $_" } split /\r\n|\r|\n/, $text // '';
}

sub _options {
    my ($own, @given) = @_;
    return $SETTINGS->options('options are names and values', \@given, 'option %s', @$own, @FIELDS);
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Datastar - Events for pages with Datastar

=head1 SYNOPSIS

    use EventSource::Datastar;
    use EventSource::Hub;

    my $datastar = 'EventSource::Datastar';
    my $reload   = $datastar->execute_script('location.reload()');
    my $hub      = EventSource::Hub->new(
        start     => 'state',
        gap_event => $reload->{event},
        gap_data  => $reload->{data},
    );

    my $change = sub {
        my $signals = $datastar->read_signals(shift) or return [400, [], []];
        my $html    = sprintf '<dd id="load">%d</dd>', $signals->{load};
        $hub->publish(figures => $datastar->patch_elements($html, key => 'load', retain => 1));
        return [204, [], []];
    };
    my $events = $hub->to_app(channels => sub { 'figures' });
    $hub->publish(figures => $datastar->patch_signals({load => 3}, key => 'signals', retain => 1));

=head1 DESCRIPTION

These class methods return events that L<Datastar|https://data-star.dev> 1.0 understands: for
L<Plack::App::EventSource::Connection/push>, and for L<EventSource::Hub/publish>, with history, state and gaps.
L<EventSource::Cookbook/Datastar> has a page. Texts are strings of characters. Each throws C<invalid> (L<EventSource::Error>).

Give each the fields C<comment>, C<id>, C<key>, C<once>, C<retain> and C<retry> of the event, too. The hub has no
L<show_channel|EventSource::Hub/show_channel>, which changes the data.

=head1 METHODS

=head2 execute_script

    my $event = EventSource::Datastar->execute_script('alert(1)');

Return an event that runs a script, which must not contain C<< </script >> or C<< <!-- >>. C<attributes> is a hash of the
C<script> element's attributes; with C<< auto_remove => 0 >> the element stays in the page.

=head2 patch_elements

    my $event = EventSource::Datastar->patch_elements('<p id="news">Hello</p>');
    my $event = EventSource::Datastar->patch_elements($items, selector => '#list', mode => 'append');

Return an event that changes elements of the page. Escape the text of others (C<encode_html>). Retain no C<append>: a change
under the same key replaces it, and a new page lacks the element. L<EventSource::Cookbook/Datastar> has a list.

=over

=item mode

C<outer>, the default, C<inner>, C<replace>, C<prepend>, C<append>, C<before>, C<after> or C<remove>. All but C<outer> and
C<replace> need a selector.

=item namespace

C<html>, the default, C<svg> or C<mathml>.

=item selector

A selector of CSS; by default the C<id> of each element.

=item use_view_transition

True for a view transition.

=back

=head2 patch_signals

    my $event = EventSource::Datastar->patch_signals({count => 3, old => undef});
    my $event = EventSource::Datastar->patch_signals($json, only_if_missing => 1);

Return an event that changes signals, given as a hash or as JSON: C<undef> removes a signal. With C<only_if_missing> signals
that the page has do not change.

=head2 read_signals

    my $signals = EventSource::Datastar->read_signals($env);

Return the signals of a request, a PSGI environment or a L<Plack::Request>, as a hash: of GET and DELETE from the query, of
others from the body. Return undef if there are none, of more than 1 MiB, or what is sent is not a JSON object.

=head2 remove_elements

    my $event = EventSource::Datastar->remove_elements('#news');

Return an event that removes the elements of a selector. It may have C<use_view_transition>.

=head1 SEE ALSO

L<EventSource::Hub>, L<EventSource::Clients/Datastar>, L<https://github.com/starfederation/datastar/blob/main/sdk/ADR.md>

=cut
