# The layers of ARCHITECTURE about the parts of the source: where unsafe code, I/O, private subs and names of PSGI servers may
# be used, which modules may use which, and how long a file may be.
#
# The checks read the source line by line, so they see paths and `use` lines, but no code that a macro or an eval generates.
# These are exempt:
#
# - tests: a module's `tests`, the naive twins and models, and what follows #[cfg(test)]
# - error numbers of libc in src/reactor/io.rs, which are constants
# - natives: XSUBs and their aliases may be called from any package although their names begin with _
# - POD after __END__ may name PSGI servers, and so may all of perl/EventSource/XS/Adapter/ and perl/EventSource/XS/Test/, and
#   perl/EventSource/XS/Command/AdminServer.pm, which is one
# - a file may use the file of its folder: it has a part of that type's functions

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(distribution_files slurp);

# The modules of the library and those that each may use.
my %MAY_USE = (
    error_code     => [],
    codec          => [],
    histogram      => [],
    wait_list      => [],
    event          => [],
    parse          => [qw(event)],
    compression    => [qw(codec event)],
    log            => [qw(event)],
    stream         => [qw(event compression)],
    hub            => [qw(codec histogram wait_list event compression log stream)],
    reactor        => [qw(wait_list event compression stream hub)],
    store_settings => [qw(codec)],
    wire           => [qw(codec histogram event compression log stream hub store_settings)],
    request        => [qw(compression hub)],
    ticket         => [qw(codec hub wire)],
    metrics        => [qw(histogram stream hub wire)],
    sys            => [],
    runtime        => [qw(codec histogram wait_list event compression stream hub reactor wire ticket sys)],
    xs => [qw(codec event parse compression log stream hub store_settings wire request ticket metrics sys runtime)],
);

# Modules that only compute: the caller does the I/O and passes the time, and nothing is shared between threads.
my @PURE = qw(codec histogram wait_list event parse compression log stream hub reactor wire request ticket metrics);

# Names that these modules may not use. Arc, Duration, Instant, io::Error and IoSlice are data and may be used.
my $IMPURE = qr{
    \b(?:
        std::(?:env|fs|net|os|process|thread)\b
      | std::io::(?:Read|stdin|stdout|stderr)\b
      | std::sync::(?:atomic|mpsc|Barrier|Condvar|Mutex|Once|RwLock)\b
      | std::sync::\{[^\}]*\b(?:Condvar|Mutex|Once|RwLock|atomic|mpsc)\b
      | (?:Instant|SystemTime)::now\b
      | crossbeam_channel | rustix | loom
      | libc
    )\b
}x;

# The file that classifies the errors of sockets.
my %MAY_NAME_ERRNO = ('src/reactor/io.rs' => 1);

# Crates in which no file uses another that uses it, also not through others.
my @WITHOUT_CIRCLES = qw(src hub_process/src);

# Names of PSGI servers, of their classes and of frameworks with a writer of their own.
my $SERVER = qr/Feersum|Starman|Starlet|Twiggy|uwsgi|HTTP::Server::|FCGI|FastCGI|MockHTTP|Catalyst/i;

sub is_test { return $_[0] =~ m{\bnaive[.]rs\z|/tests(?:[.]rs|/)|(?:/cases|[/_]model)[.]rs\z} }

# Numbered lines of Rust code, without comments, the item after #[cfg(test)] and the module of tests at the file's end.
sub rust_code {
    my $file = shift;
    my ($number, $is_for_tests, @lines) = (0, 0);
    for my $line (split /\n/, slurp($file)) {
        $number++;
        last if $is_for_tests && $line =~ /\Amod \w+ \{/;
        push @lines, [$number, $line =~ s{//.*}{}r] if !$is_for_tests;
        $is_for_tests = $line =~ /\A\s*#\[cfg\((?:all\()?test\b/;
    }
    return @lines;
}

# Numbered lines of Perl code, without POD, comments and what follows __END__.
sub perl_code {
    my $file = shift;
    my ($number, $is_pod, @lines) = (0, 0);
    for my $line (split /\n/, slurp($file)) {
        $number++;
        last if $line =~ /\A__END__/;
        if    ($line =~ /\A=cut\b/) { $is_pod = 0 }
        elsif ($line =~ /\A=[a-z]/) { $is_pod = 1 }
        elsif (!$is_pod)            { push @lines, [$number, $line =~ s/(?:\A|\s)#.*//r] }
    }
    return @lines;
}

# Numbered lines of Perl before __END__, with comments.
sub lines_before_end {
    my ($number, @lines) = 0;
    for my $line (split /\n/, slurp(shift)) {
        $number++;
        last if $line eq '__END__';
        push @lines, [$number, $line];
    }
    return @lines;
}

# "file:line: text" for each line of the files in which $found finds something to report.
sub found_in {
    my ($files, $code_of, $found) = @_;
    my @reports;
    for my $file (@$files) {
        for my $line ($code_of->($file)) {
            push @reports, map { "$file:$line->[0]: $_" } $found->($line->[1], $file);
        }
    }
    return @reports;
}

sub no_reports {
    my ($name, @reports) = @_;
    ok !@reports, $name;
    diag $_ for @reports;
    return;
}

my @rust = grep { m{\Asrc/.*[.]rs\z} && !is_test($_) } distribution_files();
my @perl = grep { m{\Aperl/.*[.]pm\z} } distribution_files();
ok @rust > 20 && @perl > 20, 'the source files are found';

no_reports 'unsafe code stands only in src/xs and src/sys',
    found_in([grep { !m{\Asrc/(?:xs|sys)/} } @rust],
    \&rust_code, sub { $_[0] =~ /\bunsafe\b(?!_)/ && $_[0] !~ /\A#!\[/ ? 'unsafe' : () });

no_reports 'modules without I/O name no thread, file, socket, lock, clock or system call', found_in(
    [
        grep {
            m{\Asrc/(\w+)[/.]} && grep { $_ eq $1 }
                @PURE
        } @rust
    ],
    \&rust_code,
    sub {
        my ($code, $file) = @_;
        $code =~ s/\blibc::E[A-Z0-9]+\b//g if $MAY_NAME_ERRNO{$file};
        return $code =~ /($IMPURE)/ ? $1 : ();
    }
);

no_reports 'a module of the crate uses only those below it', found_in(
    [grep { m{\Asrc/(\w+)[/.]} && $MAY_USE{$1} } @rust],
    \&rust_code,
    sub {
        my ($code, $file) = @_;
        my ($module) = $file =~ m{\Asrc/(\w+)};
        my %may      = map { ($_ => 1) } $module, @{$MAY_USE{$module}};
        return map { "$module uses $_" } grep { $MAY_USE{$_} && !$may{$_} } $code =~ /\bcrate::(\w+)/g;
    }
);

# The list of layers in ARCHITECTURE.
my ($layers) = slurp('ARCHITECTURE.md') =~ m{^    src/ [^\n]*\n(.*?)^    hub_process/}ms;
my $place    = 0;
my %place    = map { ($_ => ++$place) } map { /(\w+)(?:[.]rs|\/)/g } ($layers // '') =~ /^ {6}(\S.*?) {2}/mg;
no_reports 'in ARCHITECTURE each module of the crate stands below those that it uses', map {
    my $module = $_;
    map { "$module uses $_" } grep { ($place{$_} // 0) >= ($place{$module} // 0) } @{$MAY_USE{$module}};
} sort keys %MAY_USE;

# The module of a file of a crate, as a list of names: that of src/hub/mod.rs is hub.
sub module_of {
    my ($file, $folder) = @_;
    my ($path) = $file =~ m{\A\Q$folder\E/(.*)[.]rs\z};
    return grep { $_ !~ /\A(?:lib|main|mod)\z/ } split m{/}, $path;
}

# The paths that a tree of `use` means, each with the name that it gives: of a::{b, c::d as e} these are [b => 'a', 'b'] and
# [e => 'a', 'c', 'd'].
sub use_paths {
    my ($tree,  @before) = @_;
    my ($depth, @parts)  = (0, '');
    for my $token ($tree =~ /[{},]|[^{},]+/g) {
        $depth++ if $token eq '{';
        $depth-- if $token eq '}';
        if ($token eq ',' && !$depth) { push @parts, '' }
        else                          { $parts[-1] .= $token }
    }
    my @paths;
    for (@parts) {
        if    (/\A\s*((?:\w+::)*)\{(.*)\}\s*\z/s) { push @paths, use_paths($2, @before, split /::/, $1) }
        elsif (/\A\s*([\w:*]+)(?:\s+as\s+(\w+))?\s*\z/) {
            my ($name, @path) = ($2, @before, split /::/, $1);
            push @paths, [$name // $path[-1], @path];
        }
    }
    return @paths;
}

# What the files of a crate use of each other: {file => {used => 1}}. What a module only exports again is its own file's.
sub rust_uses {
    my ($folder, @files) = @_;
    my %file_of = map { (join('::', module_of($_, $folder)) => $_) } @files;
    my (%exports, %paths, %uses);
    for my $file (@files) {
        my $code = join "\n", map { $_->[1] } rust_code($file);
        while ($code =~ s/^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);//m) {
            my $is_export = $1;
            for (use_paths($2)) {
                my ($name, @path) = @$_;
                push @{$paths{$file}}, \@path;
                $exports{$file}{$name} = \@path if $is_export;
            }
        }
        push @{$paths{$file}}, map { [split /::/] } $code =~ /\b((?:crate|super)(?:::\w+)+)/g;
    }
    my $resolve;
    $resolve = sub {
        my ($from, $first, @names) = @_;
        my @module = module_of($from, $folder);
        if    ($first eq 'crate') { @module = () }
        elsif ($first eq 'super') {
            pop @module;
            while (@names && $names[0] eq 'super') { shift @names; pop @module }
        }
        elsif ($first ne 'self') { push @module, $first }
        while (@names && $file_of{join '::', @module, $names[0]}) { push @module, shift @names }
        my $file   = $file_of{join '::', @module} // return;
        my $export = @names && $exports{$file}{$names[0]} or return $file;
        return $resolve->($file, @$export) // $file;
    };
    for my $file (@files) {
        my $own = join '::', module_of($file, $folder), '';
        for my $used (grep { defined } map { $resolve->($file, @$_) } @{$paths{$file}}) {
            $uses{$file}{$used} = 1 if index $own, join '::', module_of($used, $folder), '';
        }
    }
    return \%uses;
}

# The circles of a graph {from => {to => 1}}, each as the names in it.
sub circles {
    my $uses = shift;
    my (%reaches, %names);
    for my $from (keys %$uses) {
        my @todo = $from;
        while (defined(my $next = shift @todo)) {
            push @todo, grep { !$reaches{$from}{$_}++ } keys %{$uses->{$next}};
        }
    }
    for my $from (grep { $reaches{$_}{$_} } keys %reaches) {
        $names{join ', ', sort grep { $reaches{$_}{$from} } keys %{$reaches{$from}}} = 1;
    }
    my @circles = sort keys %names;
    return @circles;
}

for my $folder (@WITHOUT_CIRCLES) {
    my @files = grep { m{\A\Q$folder\E/.*[.]rs\z} && !is_test($_) } distribution_files();
    no_reports("no files of $folder use each other in a circle", circles(rust_uses($folder, @files)));
}

# Natives, by name alone and with their package.
my (%is_native, $package);
for my $line (map { split /\n/, slurp($_) } grep { m{\Asrc/xs/.*[.]xs\z} } distribution_files()) {
    $package = $1 if $line =~ /\AMODULE\s*=.*PACKAGE\s*=\s*(\S+)/;
    my ($sub) = $line =~ /\A(?: {4})?(?:esx)?(_\w+)(?:\(| = [0-9]+\z)/;    # an XSUB or an ALIAS
    @is_native{$sub, "${package}::$sub"} = (1, 1) if $package && defined $sub;
}
ok $is_native{'EventSource::Hub::_subscribe'}, 'the natives are found';

# The packages of each file and the private subs that it defines.
my (%packages, %defines);
for my $file (@perl) {
    for my $line (perl_code($file)) {
        $packages{$file}{$1} = 1 if $line->[1] =~ /\A\s*package\s+([\w:]+)/;
        $defines{$file}{$1}  = 1 if $line->[1] =~ /\A\s*sub\s+(?:[\w:]+::)?(_\w+)/;
    }
}
my %is_private = map { %$_ } values %defines;

no_reports 'a package calls no private sub of another', found_in(
    \@perl,
    \&perl_code,
    sub {
        my ($code, $file) = @_;
        my @calls;
        while ($code =~ /(?<![\w:\$])((?:[A-Z]\w*::)*[A-Z]\w*)(?:::|->)(_[a-z]\w*)\b/g) {
            my ($class, $sub) = ($1, $2);
            next
                if $packages{$file}{$class}
                || $is_native{"${class}::$sub"}
                || $class =~ /\A(?:POSIX\z|(?:Feersum|AnyEvent::FCGI)::Connection\z|.*\bSUPER\z)/;
            push @calls, "${class}::$sub";
        }
        while ($code =~ /([\])}]|\$\w+)->(_[a-z]\w*)\b/g) {
            push @calls, "$1->$2" if $is_private{$2} && !$defines{$file}{$2} && !$is_native{$2};
        }
        push @calls, "can('$1')" if $code =~ /->can\(['"](_[a-z]\w*)['"]\)/ && $is_private{$1} && !$is_native{$1};
        return @calls;
    }
);

no_reports 'only adapters, Test::EventSource and that of the command admin name PSGI servers, also in comments',
    found_in([grep { !m{\Aperl/(?:EventSource/XS/(?:(?:Adapter|Test)/|Command/AdminServer[.]pm)|Test/)} } @perl],
    \&lines_before_end, sub { $_[0] =~ /($SERVER)/ ? $1 : () });

# The modules that each Perl module loads, also while it runs. A class that inherits with -norequire is loaded by its parent.
my %module_of = map { ($_ => s{\Aperl/|[.]pm\z}{}gr =~ s{/}{::}gr) } @perl;
my %is_ours   = map { ($_ => 1) } values %module_of;
my %loads;
for my $file (@perl) {
    my $code = join "\n", map { $_->[1] } perl_code($file);
    my @used = $code =~ /\b(?:use|require)\s+(?:parent\s+)?['"]?([A-Z][\w:]+)/g;
    $loads{$module_of{$file}} = [grep { $is_ours{$_} } @used];
}

# A capability stands on the public modules, on what reads values and texts for everybody, and on what is named here.
my %MAY_ALSO_USE = (
    'EventSource::Client'             => [qw(Hub::Word Signals TCPConnection WeakLink)],
    'EventSource::Datastar'           => [qw(RequestBody)],
    'EventSource::Outbox'             => [qw(Hub::Calls MetricsApp Share Stream::Child)],
    'EventSource::Server'             => [],
    'EventSource::XMPP'               => [],
    'EventSource::XS::Hub::Admin'     => [qw(AccessPolicy Hub::Proxy Hub::Script Post Share)],
    'Plack::App::EventSource::PubSub' => [qw(Adapter Hub::Subscription Post)],
);
my @FOR_EVERYBODY = qw(ErrorLog Hub::Name JSONText Loop Origins Reason Response Settings SocketPair UTF8);

sub unallowed {
    my $capability = shift;
    my $inside     = $capability =~ s/\AEventSource::(?!XS::)/EventSource::XS::/r;
    my $is_own     = qr/\A(?:\Q$capability\E|\Q$inside\E)(?:::|\z)/;
    my %may        = map { ("EventSource::XS::$_" => 1) } @FOR_EVERYBODY, @{$MAY_ALSO_USE{$capability}};
    my @reports;
    for my $module (grep { $_ =~ $is_own } sort keys %loads) {
        push @reports, map { "$module uses $_" }
            grep { /\AEventSource::XS::/ && $_ !~ $is_own && !$may{$_} } @{$loads{$module}};
    }
    return @reports;
}
no_reports("$_ uses what a capability may", unallowed($_)) for sort keys %MAY_ALSO_USE;

# Modules without circles go, those that load nothing first; what is left is in a circle, or loads one.
my %left = %loads;

sub is_free {
    my $module = shift;
    return !grep { $left{$_} } @{$left{$module}};
}
while (my @free = grep { is_free($_) } keys %left) {
    delete @left{@free};
}
no_reports('no Perl modules load each other in a circle', map { "$_: @{$left{$_}}" } sort keys %left);

# The simulation takes the part of the kernel where a thread waits, starts, or asks for the time, and nowhere else.
my @OF_RUNTIME  = qw(event_loop remote/access/start wake/channel wake/notifier wake/sync);
my @OF_SYS      = qw(clock daemon epoll mod random sim socket standard_error thread);
my %MAY_USE_SIM = map { ("$_.rs" => 1) } qw(src/lib hub_process/src/new_program hub_process/src/process_log/mod),
    (map { "src/runtime/$_" } @OF_RUNTIME), map { "src/sys/$_" } @OF_SYS;
no_reports 'only the named places know the simulation',
    found_in([grep { m{\A(?:hub_process/)?src/.*[.]rs\z} && !is_test($_) && !$MAY_USE_SIM{$_} } distribution_files()],
    \&rust_code, sub { $_[0] =~ /\bsim::|feature = "sim"/ ? 'the simulation' : () });
my ($default) = slurp('Cargo.toml') =~ /^(default = .*)/m;
unlike $default . slurp('hub_process/Cargo.toml') =~ s/.*^(default = [^\n]*).*/$1/msr, qr/\bsim\b/,
    'no build has the simulation by default';

# The fuzz target of the hub process compiles its modules, and is built with a nightly compiler only.
my @modules = slurp('hub_process/src/main.rs')                               =~ /^mod (\w+);/mg;
my %fuzzed  = map { ($_ => 1) } slurp('fuzz/fuzz_targets/hub_connection.rs') =~ /^ +pub mod (\w+);/mg;
is_deeply [sort keys %fuzzed], [sort @modules], 'the modules of the hub process are fuzzed';
my %simulated =
    map { ($_ => 1) } slurp('sim/src/main.rs') =~ /^mod program \{(.*?)^\}/ms ? $1 =~ /^ +pub mod (\w+);/mg : ();
is_deeply [sort keys %simulated], [sort @modules], 'the modules of the hub process are simulated';

# A file is one noun, which one person can hold: so many lines at most, with comments, without blank ones, tests and POD.
my $MOST_LINES = 600;

sub lines_of {
    my $file = shift;
    my $text = slurp($file);
    $text =~ s/^__END__\n.*//ms                                  if $file =~ /[.]pm\z/;
    $text =~ s/^#\[cfg\((?:all\()?test\b[^\n]*\nmod \w+ \{.*//ms if $file =~ /[.]rs\z/;
    return scalar(() = $text =~ /^.*\S.*$/mg);
}

my @code  = grep { m{\A(?:perl|src|hub_process/src)/.*[.](?:pm|rs|h|c|xs)\z} && !is_test($_) } distribution_files();
my %lines = map  { ($_ => lines_of($_)) } @code;
cmp_ok scalar @code, '>', 300, 'the files of code are found';
no_reports("no file has more than $MOST_LINES lines",
    map { "$_: $lines{$_}" } grep { $lines{$_} > $MOST_LINES } sort keys %lines);

done_testing;
