package Testing::Apache;
use strict;
use warnings;

# Apache as Debian installs it: what the configurations of a proxy and of a PSGI server have in common.

use Carp               qw(croak);
use Testing::Developer qw(has_command);

my $MODULES = '/usr/lib/apache2/modules';

# The text of a configuration in a folder, with these modules and directives. Children of root are another user's, for Apache
# refuses to serve as root.
sub frame {
    my ($folder, $port, $modules, @directives) = @_;
    my @load = map { "LoadModule ${_}_module $MODULES/mod_$_.so" } @$modules;
    my @user = $> ? () : ('User nobody', 'Group nogroup');
    if (!$>) { chmod 0711, $folder or croak "$folder: $!" }
    return join "\n", "ServerRoot $folder", "DefaultRuntimeDir $folder", "PidFile $folder/pid", 'ErrorLog /dev/stderr',
        'ServerName 127.0.0.1', "Listen 127.0.0.1:$port", @load, @user, @directives, '';
}

# Why Apache with a module cannot run here; undef if it can.
sub missing {
    my $module = shift;
    return 'there is no apache2 here' if !has_command('apache2');
    return -e "$MODULES/mod_$module.so" ? undef : "there is no mod_$module of Apache here";
}

1;
