# Streams end at a logout. When a right changes, they come back and are asked for again.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Encode      qw(decode);
use EventSource::Hub;
use Fcntl    qw(LOCK_EX);
use JSON::PP qw(decode_json encode_json);
use Plack::Builder;
use Plack::Request;

# In place of your own users.
my %PASSWORD = map { ($_ => $ENV{"\U${_}_PASSWORD"} || die "${_}'s password is not set\n") } qw(ada carl staff);

# In place of your database: {sessions => {KEY => USER}, rights => {USER => {CHANNEL => 1}}}. All workers share it.
my $FILE = $ENV{ACCOUNTS} || die "ACCOUNTS is not set\n";

sub database {
    my $use = shift;
    open my $file, '+>>', $FILE or die "$FILE: $!\n";
    flock $file, LOCK_EX or die "$FILE: $!\n";
    seek $file, 0, 0;
    my $data   = decode_json(readline($file) || '{}');
    my $result = $use->($data);
    truncate $file, 0;
    print {$file} encode_json($data);
    close $file or die "$FILE: $!\n";
    return $result;
}

my $hub = EventSource::Hub->new(name => 'accounts', socket => $ENV{ACCOUNTS_SOCKET});

# Fields of a form, in characters: the user is in JSON, too.
sub fields_of {
    my ($request, @names) = @_;
    my $form = $request->body_parameters;
    return map { defined $form->{$_} ? decode('UTF-8', $form->{$_}) : undef } @names;
}

# A digest of the session's id: what the database and a label say does not log in.
sub session_of { return sha256_hex(Plack::Request->new(shift)->cookies->{session} // '') }

sub user_of {
    my $session = session_of(shift);
    return database(sub { shift->{sessions}{$session} });
}

# The session and the rights are looked up here, not before: the stream ends if one of them is withdrawn meanwhile.
my $events = $hub->to_app(
    channels => sub {
        my $env  = shift;
        my $user = $env->{REMOTE_USER} = user_of($env);
        return [403, ['Content-Type' => 'text/plain'], ['Please log in']] if !defined $user;
        return @{database(sub { [keys %{shift->{rights}{$user}}] })};
    },
    label => sub { my $env = shift; return ("user/$env->{REMOTE_USER}", 'session/' . session_of($env)) },
);

sub login {
    my $request = shift;
    my ($user, $password) = fields_of($request, qw(user password));
    return [403, [], []] if !defined $user || !defined $password || ($PASSWORD{$user} // '') ne $password;
    logout($request);    # another user may be logged in here, with a stream in another tab
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 16;
    my $id = unpack 'H*', $bytes;
    database(sub { shift->{sessions}{sha256_hex($id)} = $user });
    return [204, ['Set-Cookie' => "session=$id; Path=/; HttpOnly; SameSite=Lax"], []];    # on https: and Secure
}

# First the session goes, so that nobody comes back with it; then its streams end.
sub logout {
    my $session = session_of(shift->env);
    database(sub { delete shift->{sessions}{$session} });
    $hub->end(label => "session/$session", finish => 1);
    return [204, [], []];
}

# For a changed password or a lost telephone: all sessions of the user.
sub logout_everywhere {
    my $user = user_of(shift->env) // return [403, [], []];
    database(
        sub {
            my $of = shift->{sessions};
            delete @$of{grep { $of->{$_} eq $user } keys %$of};
        }
    );
    $hub->end(label => "user/$user", finish => 1);
    return [204, [], []];
}

# Staff give and take rights. First the right changes, then the streams come back and are asked for again.
sub rights {
    my $request = shift;
    return [403, [], []] if (user_of($request->env) // '') ne 'staff';
    my ($user, $channel, $may) = fields_of($request, qw(user channel may));
    return [400, [], []] if !exists $PASSWORD{$user // ''} || ($channel // '') !~ /\A\w{1,40}\z/a;
    database(
        sub {
            my $data = shift;
            if ($may) { $data->{rights}{$user}{$channel} = 1 }
            else      { delete $data->{rights}{$user}{$channel} }
        }
    );
    $hub->end(label => "user/$user");
    return [204, [], []];
}

sub publish {
    my $request = shift;
    return [403, [], []] if (user_of($request->env) // '') ne 'staff';
    my ($channel, $text) = fields_of($request, qw(channel text));
    return [400, [], []] if ($channel // '') !~ /\A\w{1,40}\z/a || !length($text // '');
    $hub->publish($channel => {event => $channel, data => $text});
    return [204, [], []];
}

my %POST = (
    login             => \&login,
    logout            => \&logout,
    logout_everywhere => \&logout_everywhere,
    rights            => \&rights,
    publish           => \&publish,
);

builder {
    for my $name (keys %POST) {
        mount "/$name" => sub {
            my $request = Plack::Request->new(shift);
            return $request->method eq 'POST' ? $POST{$name}->($request) : [405, [Allow => 'POST'], []];
        };
    }
    mount '/events' => $events;
};
