package EventSource::XS::Hub::Admin;
use strict;
use warnings;

# The PSGI application of the admin page: who may, and what each path answers. The page itself is in share/admin.
#
# "admin_app" in EventSource::Hub has the manual.
#
# The page asks for each look at the hub. While the hub process is away, that occupies a worker for a second at most. Of the
# channel that a reader has chosen it has a tail, which is a stream of `to_app`.

use EventSource::Error;
use EventSource::XS::AccessPolicy;
use EventSource::XS::Hub::Admin::Look;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Script;
use EventSource::XS::Origins;
use EventSource::XS::Post;
use EventSource::XS::Reason;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use EventSource::XS::Share;
use JSON::MaybeXS ();
use Plack::Request;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');
my $JSON     = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

my $MAX_BODY = 1 << 20;    # bytes of a POST
my $PATIENCE = 1;          # seconds for the hub process, of a worker that is asked for a look

# The settings of a tail: the events of the history with which it begins, and milliseconds.
my %TAIL = (start => -20, retry => 1_000);

# The page loads its own script and style and nothing else, and no other page may show it.
my $SOURCES = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:";
my @HEADERS = (
    'Content-Security-Policy'      => "$SOURCES; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'Cross-Origin-Opener-Policy'   => 'same-origin',
    'Cross-Origin-Resource-Policy' => 'same-origin',
    'Referrer-Policy'              => 'no-referrer',
    'X-Frame-Options'              => 'DENY',
);

# The files of share/admin by their paths.
my %FILE = (
    '/'          => ['index.html', 'text/html; charset=utf-8'],
    '/admin.css' => ['admin.css',  'text/css; charset=utf-8'],
    '/admin.js'  => ['admin.js',   'text/javascript; charset=utf-8'],
);

my %HTTP_STATUS = map { ($_ => 400) } qw(full invalid refused);

# The key of the PSGI environment that has the label of a tail, if there is one. A label for each worker of a server would be
# wrong: to the page, a stream with another label is another user's, and a tail may come back to any worker.
our $LABEL = 'eventsource.admin.label';

# Public methods

# The application of a hub. What is published and a tail start the hub process, if need be; a look does not.
sub app {
    my ($class, $hub, @given) = @_;
    my %given = $SETTINGS->options('admin_app takes options', \@given, 'option %s of admin_app', qw(allow hosts token));
    my $policy = EventSource::XS::AccessPolicy->new($SETTINGS, %given, of => 'admin_app');
    my $self   = bless {hub => $hub}, $class;
    my $script = EventSource::XS::Hub::Script->app;
    my %get    = (
        '/eventsource-hub.js' => sub { local $_[0]{PATH_INFO} = ''; return $script->($_[0]) },
        '/look'               => sub { $self->_answer_look($_[0]) },
        '/tail'               => $hub->to_app(%TAIL, channels => \&_topics, label => sub { $_[0]{$LABEL} // () }),
        map { ($_ => \&_file) } keys %FILE,
    );
    my %post = map { ("/$_" => $self->can("_$_")) } qw(end publish);
    return sub {
        my $env      = shift;
        my $method   = $env->{REQUEST_METHOD};
        my $response = _other_site($env) || $policy->refusal($env) || $self->_response($env, \%get, \%post);
        return EventSource::XS::Response->for_method($method, $response);
    };
}

# Private functions and methods

# The response of a function that returns a structure for JSON.
sub _answer {
    my $function = shift;
    local ($@, $SIG{__DIE__});
    my $answer = eval { $function->() };
    return EventSource::XS::Response->of(200, 'application/json', $JSON->encode($answer), @HEADERS) if $answer;
    my $error = EventSource::Error->own($@);
    return _text($HTTP_STATUS{$error->code} || 503, EventSource::XS::Reason->message_of($error));
}

sub _answer_look {
    my ($self, $env) = @_;
    my $hub  = $self->{hub};
    my $name = length $hub->{name} ? $hub->{name} : undef;
    my $look = EventSource::XS::Hub::Admin::Look->new(name => $name, %{_query($env)});
    return _answer(sub { $look->take(defined $name ? $hub->process(timeout => $PATIENCE) : $hub) });
}

# A page of another site can send a request that changes something, but no body of JSON without asking first.
sub _answer_post {
    my ($self, $env, $method) = @_;
    if (($env->{HTTP_SEC_FETCH_SITE} // '') ne 'same-origin') {    # by http browsers do not say it
        my $access = EventSource::XS::Origins->access('EventSource::Hub', [], $env, $self->{hub});
        return _text(403,
            'Not from this origin. A proxy has to pass the header Host (nginx: proxy_set_header Host $http_host)')
            if EventSource::XS::Origins->refusal($access, 'POST');
    }
    return _text(415, 'The body must be application/json')
        if ($env->{CONTENT_TYPE} // '') !~ m{\Aapplication/json\s*(?:;|\z)}i;
    my ($body, $why) = EventSource::XS::Post->body_of($env, $MAX_BODY);
    return _text(@$why) if $why;
    my $given = do {
        local ($@, $SIG{__DIE__});
        eval { $JSON->decode($body) };
    };
    return _text(400, 'The body is not an object of strings')
        if ref $given ne 'HASH' || grep { !defined || ref } values %$given;
    return _answer(sub { $self->$method($given) });
}

sub _end {
    my ($self, $given) = @_;
    return {count => $self->{hub}->end(label => [$given->{label} // ''], finish => $given->{finish} ? 1 : 0)};
}

sub _file {
    my ($name, $type) = @{$FILE{$_[0]{PATH_INFO}}};
    return EventSource::XS::Response->of(200, $type, EventSource::XS::Share->content("admin/$name"), @HEADERS);
}

# A browser says which site a request comes from. Another port of this machine is the same site, and another origin.
sub _other_site {
    my $env  = shift;
    my $site = $env->{HTTP_SEC_FETCH_SITE} // 'none';
    return undef
        if $site =~ /\A(?:none|same-origin)\z/ || $env->{REQUEST_METHOD} eq 'GET' && $env->{PATH_INFO} =~ m{\A/?\z};
    return _text(403, 'Not from another site');
}

sub _publish {
    my ($self, $given) = @_;
    my %event = map { length($given->{$_} // '') ? ($_ => $given->{$_}) : () } qw(event key);
    $event{retain} = 1 if $given->{retain};
    return {id => $self->{hub}->publish($given->{channel} // '', {%event, data => $given->{data} // ''})};
}

# The channel that is looked at, and what the names of others are to contain.
sub _query {
    my $env   = shift;
    my $given = Plack::Request->new($env)->query_parameters;
    my %query;
    for my $name (grep { length($given->{$_} // '') } qw(channel filter)) {
        utf8::decode(my $text = $given->{$name});
        $query{$name} = $text;
    }
    return \%query;
}

sub _response {
    my ($self, $env, $get, $post) = @_;
    my ($path, $method) = @$env{qw(PATH_INFO REQUEST_METHOD)};
    return _slash($env) if $path eq '';
    my $action = $post->{$path};
    my $answer = $action || $get->{$path} or return _text(404, 'There is no such page');
    return _text(405, 'POST',        Allow => 'POST')      if $action  && $method ne 'POST';
    return _text(405, 'GET or HEAD', Allow => 'GET, HEAD') if !$action && $method !~ /\A(?:GET|HEAD)\z/;
    return $action ? $self->_answer_post($env, $action) : $answer->($env);
}

# The page is a folder, so that its own files are beside it wherever it is mounted.
sub _slash {
    my $env    = shift;
    my $query  = length($env->{QUERY_STRING} // '') ? "?$env->{QUERY_STRING}" : '';
    my ($name) = $env->{SCRIPT_NAME} =~ m{([^/]*)\z};
    $name =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;
    return _text(302, 'The page is a folder', Location => "$name/$query");
}

sub _text {
    my ($status, $text, @headers) = @_;
    return EventSource::XS::Response->text($status, $text, @HEADERS, @headers);
}

# The topics that the tail follows, or a refusal.
sub _topics {
    my $env     = shift;
    my $name    = _query($env)->{channel} // return;
    my $problem = $name =~ /[*]/ ? undef : EventSource::XS::Hub::Name->problem($name);
    return _text(400, "a channel's name $problem") if defined $problem;
    return $name                                   if $name !~ /[*]/;
    local ($@, $SIG{__DIE__});
    return eval { EventSource::XS::Hub::Name->pattern($name) } || _text(400, EventSource::XS::Reason->message_of($@));
}

1;
