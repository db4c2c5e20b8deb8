package EventSource::Framework;
use strict;
use warnings;

# The common part of the helpers for web frameworks: the application behind one stream, and the head of its response.

our $VERSION = '0.100';

use EventSource::XS::Settings;
use Plack::App::EventSource;
use Scalar::Util qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

# Headers of a framework's response that describe another body or the connection; the server adds its own date.
my %IS_OF_BODY = map { ($_ => 1) } qw(connection content-length content-type date transfer-encoding);

# Public methods

sub app {
    my ($class, $handler, @attributes) = @_;
    if (blessed $handler && $handler->can('to_app')) {
        $SETTINGS->refuse(
            attributes => 'event_source takes no attributes with an application: the application has them')
            if @attributes;
        return $handler->to_app;
    }
    $SETTINGS->refuse(handler => 'event_source takes a handler, a code reference, or an object with to_app')
        if ref $handler ne 'CODE';
    my %attribute = $SETTINGS->parse('event_source takes attributes after the handler', @attributes);
    return _routed(Plack::App::EventSource->new(%attribute, handler_cb => $handler)->to_app);
}

sub head {
    my ($class,  $response, @headers) = @_;
    my ($status, $own,      @body)    = @$response;
    my %is_own = map { (lc $own->[2 * $_] => 1) } 0 .. $#$own / 2;
    my @more;
    while (my ($name, $value) = splice @headers, 0, 2) {
        push @more, $name, $value if !$is_own{lc $name} && !$IS_OF_BODY{lc $name};
    }
    return [$status, [@$own, @more], @body];
}

sub hub_app {
    my ($class, $hub, @topics) = @_;
    $SETTINGS->refuse(hub => 'events takes an EventSource::Hub, then channels')
        if !blessed $hub || !$hub->isa('EventSource::Hub');
    my %option = ref $topics[-1] eq 'HASH' ? %{pop @topics} : ();
    $SETTINGS->refuse(channels => 'events takes channels after the hub') if !@topics;
    $hub->groups(@topics);    # checks them
    return _routed($hub->to_app(%option, channels => sub { return @topics }));
}

# Private functions

# The framework has routed the method of the request already: Plack::App::EventSource allows it.
sub _routed {
    my $app = shift;
    return sub {
        my $env = shift;
        $env->{'eventsource.framework.is_routed'} = 1;
        return $app->($env);
    };
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Framework - Event streams in web frameworks

=head1 SYNOPSIS

    use EventSource::Framework;

    # An action of a framework that has the PSGI environment and returns a PSGI response.
    my $action = sub {
        my $env = shift;
        return EventSource::Framework->app(sub {
            my $conn = shift;
            $conn->push('hello');
            $conn->close;
        })->($env);
    };

=head1 DESCRIPTION

An action of a framework may respond with a stream:

=over

=item Dancer2

See L<EventSource::Framework::Dancer2>.

=item Mojolicious

See L<EventSource::Framework::Mojolicious>.

=item Catalyst

With a PSGI response:

    $c->res->from_psgi_response($hub->to_app(channels => sub { 'news' })->($c->req->env));

=item Plack

A stream is a PSGI application, and runs behind any middleware that does not filter the body, such as
L<Plack::Middleware::Session>.

=back

F<examples/frameworks/> has the same application for each, with a login. This module is for plugins of other frameworks.

=head1 METHODS

=head2 app

    my $app = EventSource::Framework->app(sub { my ($conn, $env) = @_; ... }, %attributes);
    my $app = EventSource::Framework->app($component);

Return a PSGI application that streams to one client, from a handler and the attributes of L<Plack::App::EventSource>, or from
an object with C<to_app>, such as a L<Plack::App::EventSource> that was made before. Throws an L<EventSource::Error> with the
code C<invalid> for anything else.

All L<methods|Plack::App::EventSource/methods> have a stream, for the framework has routed the request; HEAD and OPTIONS are a
405. Give the attribute C<methods> with C<origins>, for the OPTIONS of a browser. An object has the C<methods> that it was
made with.

=head2 head

    my $response = EventSource::Framework->head([200, \@headers], @framework_headers);

Return the response of a stream with the headers that the framework has for it, such as a cookie. The stream's own headers win.
C<Connection>, C<Content-Length>, C<Content-Type>, C<Date> and C<Transfer-Encoding> are left out.

=head2 hub_app

    my $app = EventSource::Framework->hub_app($hub, @channels);
    my $app = EventSource::Framework->hub_app($hub, @channels, \%options);

Return a PSGI application whose stream reads these channels of an L<EventSource::Hub>, given as C<channels> of
L<EventSource::Hub/to_app> returns them: names, patterns, arrays. The options are the others of that method, and methods are
allowed as in L</app>. Throws C<invalid> if there is no hub or no channel.

=cut
